"""The pages: one file a subject, each with its `PAGES`, in the order of the menu."""
