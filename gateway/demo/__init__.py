"""The main job, live: a gateway on simulated providers over real sockets, watched from outside."""
