//! The Metagov gateway.

pub mod cli;
pub mod config;
pub mod error;
pub mod model;
pub mod plugins;

// PLACEHOLDER, replaced at the merge by the wiring of the gateway: only the names and
// types that `main.rs` is written against.
pub use placeholder::{Running, StartError, migrate, run};

mod placeholder {
    #![allow(missing_docs)]
    use std::{fmt, net::SocketAddr};

    use crate::{config::Config, plugins::kit::Plugin};

    #[derive(Debug)]
    pub struct StartError(pub String);

    impl fmt::Display for StartError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }

    pub struct Running {
        pub api: SocketAddr,
        pub public: SocketAddr,
    }

    impl Running {
        pub async fn stop(self) -> Result<(), StartError> {
            Ok(())
        }

        pub async fn ended(&mut self) {
            std::future::pending().await
        }
    }

    pub async fn run(config: Config, _: Vec<Plugin>) -> Result<Running, StartError> {
        let (api, public) = (config.listen, config.public_listen);
        Ok(Running { api, public })
    }

    pub async fn migrate(_: &Config) -> Result<Vec<String>, StartError> {
        Ok(Vec::new())
    }
}
