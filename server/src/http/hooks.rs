//! `POST /api/hooks/…`: what platforms deliver.

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Place, Public, status::Failure};
use crate::{
    error::{Error, Thing},
    metrics::{label, metrics},
    model::{CommunityId, Hook, HookReply},
    proof::{Point, answering},
};

/// `/api/hooks/<plugin>`: one address for all communities.
pub(super) async fn of_platform(
    State(public): State<Public>,
    Place(plugin): Place<String>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let routed = async {
        public.rate.admit(&[&plugin])?;
        let hook = hook(&public, query, headers, body).await?;
        let routed = public.gateway.route(&plugin, hook);
        Ok(answer(to_its_end(&public, &plugin, routed).await?))
    };
    counted(&public, &plugin, routed.await)
}

/// `/api/hooks/<community>/<plugin>`: for plugins that verify signatures.
pub(super) async fn of_community(
    State(public): State<Public>,
    Place((community, plugin)): Place<(String, String)>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let received = async {
        public.rate.admit(&[&community, &plugin])?;
        let hook = hook(&public, query, headers, body).await?;
        receive(&public, (&community, &plugin, None), hook).await
    };
    counted(&public, &plugin, received.await)
}

/// `/api/hooks/<community>/<plugin>/<slug>`: the address of one installation.
pub(super) async fn of_installation(
    State(public): State<Public>,
    Place((community, plugin, slug)): Place<(String, String, String)>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let received = async {
        public.rate.admit(&[&community, &plugin, &slug])?;
        let hook = hook(&public, query, headers, body).await?;
        receive(&public, (&community, &plugin, Some(&slug)), hook).await
    };
    counted(&public, &plugin, received.await)
}

/// Counts what became of a hook.
fn counted(
    public: &Public,
    plugin: &str,
    received: Result<Response, Failure>,
) -> Result<Response, Failure> {
    let result = match &received {
        Ok(_) => "taken",
        Err(Failure::Error(Error::Unsigned(_))) => "refused",
        Err(Failure::Error(Error::NotFound(_))) => "unknown_address",
        Err(Failure::Error(Error::RateLimited(_))) => "limited",
        Err(Failure::Error(
            Error::Internal(_)
            | Error::StoreUnavailable
            | Error::StoreReadOnly
            | Error::StorageFull
            | Error::Contended
            | Error::Draining,
        )) => "not_kept",
        Err(_) => "malformed",
    };
    count(public, plugin, result);
    received
}

/// Who made up a plugin adds no name to the metrics.
fn count(public: &Public, plugin: &str, result: &'static str) {
    let known = public.gateway.get_plugin(plugin);
    let known = known.map_or("unknown", |plugin| plugin.name.as_str());
    let labels = [label("plugin", known.to_owned()), label("result", result)];
    metrics().hooks.get_or_create(&labels).inc();
}

async fn receive(
    public: &Public,
    (community, plugin, slug): (&str, &str, Option<&str>),
    hook: Hook,
) -> Result<Response, Failure> {
    let community = known(community)?;
    let received = public.gateway.receive(&community, plugin, slug, hook);
    Ok(answer(to_its_end(public, plugin, received).await?))
}

/// Waits for what becomes of a hook that came whole.
async fn to_its_end<T>(
    public: &Public,
    plugin: &str,
    becomes: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut cut_off = CutOff(Some((public, plugin)));
    let became = becomes.await;
    cut_off.0 = None;
    became
}

/// Counts a hook that is dropped before it is answered: it took too long, or its platform
/// did not wait.
struct CutOff<'a>(Option<(&'a Public, &'a str)>);

impl Drop for CutOff<'_> {
    fn drop(&mut self) {
        if let Some((public, plugin)) = self.0 {
            count(public, plugin, "unanswered");
        }
    }
}

async fn hook(
    public: &Public,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Hook, Failure> {
    let body = public.body(&headers, body).await?;
    let text = |value: &axum::http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let headers = headers.iter().filter_map(|(name, value)| {
        // Names come in lower case already. What is no text is for no plugin.
        Some((name.as_str().to_owned(), text(value)?))
    });
    Ok(Hook {
        headers: headers.collect(),
        query: query.unwrap_or_default(),
        body,
        ..Hook::default()
    })
}

/// What cannot be a community's id is an address that does not exist.
fn known(community: &str) -> Result<CommunityId, Failure> {
    CommunityId::parse(community).ok_or(Failure::Error(Error::NotFound(Thing::Webhook)))
}

fn answer(reply: HookReply) -> Response {
    answering(Point::BeforeHookAnswer, Point::AfterHookAnswer);
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    if reply.content_type.is_empty() {
        return (status, Body::from(reply.body)).into_response();
    }
    (
        status,
        [(header::CONTENT_TYPE, reply.content_type)],
        Body::from(reply.body),
    )
        .into_response()
}
