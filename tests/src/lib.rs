//! Claims about the gateway, shown through its real server.
