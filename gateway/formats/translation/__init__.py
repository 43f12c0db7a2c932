"""From one dialect to another: calls into the words of the upstream, answers back into the client's."""
