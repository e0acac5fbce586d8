//! How a plugin says that it is authorized, and how its types are erased.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Authorized, Client, Consent, Flow, Granted, OAuth, client::useless};
use crate::{
    error::Result,
    model::{Account, AuthKind, Credentials, Object},
    plugins::kit::{Act, Builder, Call, Context, Nothing, Pure, Step, erased::parse},
};

/// After `.oauth(…)`.
pub struct AnOAuth;

impl<C, O, At> Builder<C, O, At>
where
    C: DeserializeOwned + Send + Sync + 'static,
    O: DeserializeOwned + Send + Sync + 'static,
{
    /// The plugin is authorized by OAuth, as the operator's application. Say with
    /// `.install(…)` and `.login(…)` what for.
    pub fn oauth(mut self, client: fn(&O) -> Result<Client>) -> Builder<C, O, AnOAuth> {
        let refresh: Step<Credentials, Credentials> = Arc::new(move |call: Call, old| {
            Box::pin(async move {
                let operator = parse(Value::Object(call.operator), "operator")?;
                client(&operator)?
                    .refresh(&call.http, old, call.clock)
                    .await
            })
        });
        self.plugin.oauth = Some(OAuth {
            client: of_operator(client),
            install: None,
            login: None,
            refresh,
        });
        self.now_at(AnOAuth)
    }
}

impl<C, O> Builder<C, O, AnOAuth>
where
    C: DeserializeOwned + Send + Sync + 'static,
    O: DeserializeOwned + Send + Sync + 'static,
{
    /// The plugin is enabled so: what is asked of the person, and what `installed` makes
    /// of the platform's answer. It may only read. The credentials are the operator's
    /// then: a platform_id is unique in the whole gateway.
    pub fn install<A, F>(mut self, ask: fn(&O) -> Result<Consent>, installed: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        F: for<'a> Act<'a, Context<Nothing, O>, Granted<A>, Authorized>,
    {
        self.plugin.descriptor.auth_kind = AuthKind::Oauth;
        self.plugin.operator_credentials = true;
        self.oauth_mut().install = Some(flow(ask, installed));
        self
    }

    /// People log in so: what is asked of them, and whose account the platform says it
    /// is. It may only read.
    pub fn login<A, F>(mut self, ask: fn(&O) -> Result<Consent>, account: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        F: for<'a> Act<'a, Context<Nothing, O>, Granted<A>, Account>,
    {
        self.oauth_mut().login = Some(flow(ask, account));
        self
    }

    /// Renews credentials that have expired, in a way of the platform's own.
    pub fn refresh<F>(mut self, f: F) -> Self
    where
        F: for<'a> Act<'a, Context<C, O>, Credentials, Credentials>,
    {
        let f = Arc::new(f);
        self.oauth_mut().refresh = Arc::new(move |call: Call, old| {
            let f = f.clone();
            Box::pin(async move { f.act(&call.context()?, old).await })
        });
        self
    }

    fn oauth_mut(&mut self) -> &mut OAuth {
        let oauth = self.plugin.oauth.as_mut();
        oauth.expect("comes after oauth")
    }
}

fn of_operator<O, T>(f: fn(&O) -> Result<T>) -> Pure<Object, T>
where
    O: DeserializeOwned + 'static,
    T: 'static,
{
    Arc::new(move |operator| f(&parse(Value::Object(operator), "operator")?))
}

fn flow<O, A, R, F>(ask: fn(&O) -> Result<Consent>, read: F) -> Flow<R>
where
    O: DeserializeOwned + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    R: Send + 'static,
    F: for<'a> Act<'a, Context<Nothing, O>, Granted<A>, R>,
{
    let read = Arc::new(read);
    Flow {
        ask: of_operator(ask),
        read: Arc::new(move |call: Call, granted: Granted<Value>| {
            let read = read.clone();
            Box::pin(async move {
                let Granted { answer, claimed } = granted;
                let answer = serde_json::from_value(answer).map_err(|_| useless())?;
                let granted = Granted { answer, claimed };
                read.act(&call.context()?, granted).await
            })
        }),
    }
}
