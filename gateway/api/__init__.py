"""HTTP and WebSocket surfaces: data plane, admin plane, reports, health."""
