//! ListProcesses: over one community, several or all, by state and type, in pages.

use metagov_proto::v1::{
    ListProcessesRequest, ListProcessesResponse, Process, ProcessState, StartProcessRequest,
};
use serde_json::json;
use tonic::{Code, Status};

use crate::harness::{Api, Gateway, fault, object};

async fn ask(api: &Api, request: ListProcessesRequest) -> Result<ListProcessesResponse, Status> {
    let answer = api.processes().list_processes(request).await?;
    Ok(answer.into_inner())
}

async fn ids(api: &Api, request: ListProcessesRequest) -> Vec<String> {
    let answer = ask(api, request).await.unwrap();
    assert_eq!(answer.next_page_token, "", "it fits on one page");
    let processes = answer.processes.into_iter();
    processes.map(|process| process.process_id).collect()
}

async fn vote(api: &Api, community: &str, title: &str) -> Process {
    let parameters = json!({"title": title, "options": ["yes", "no"]});
    let request = StartProcessRequest {
        community_id: community.to_owned(),
        process_type: "ballot.vote".into(),
        parameters: object(parameters),
        ..Default::default()
    };
    api.start_request(request).await.unwrap()
}

/// A gateway with two communities, each with the plugin `ballot`.
async fn with_two() -> Gateway {
    let gateway = Gateway::start().await;
    for community in ["east", "west"] {
        gateway.api.community(community).await;
        gateway.api.enable(community, "ballot", json!({})).await;
    }
    gateway
}

fn of(communities: &[&str]) -> ListProcessesRequest {
    ListProcessesRequest {
        community_ids: communities.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

#[tokio::test]
async fn processes_are_listed_over_communities_newest_first() {
    let gateway = with_two().await;
    let api = &gateway.api;
    assert_eq!(ids(api, of(&[])).await, Vec::<String>::new());
    let mut started = Vec::new();
    for community in ["east", "west", "east"] {
        started.push(vote(api, community, community).await.process_id);
    }
    let [one, two, three] = &started[..] else {
        unreachable!()
    };
    assert_eq!(
        &ids(api, of(&[])).await,
        &[three.clone(), two.clone(), one.clone()]
    );
    assert_eq!(ids(api, of(&["east"])).await, [three.clone(), one.clone()]);
    assert_eq!(&ids(api, of(&["west"])).await, std::slice::from_ref(two));
    let both = ids(api, of(&["west", "east", "west"])).await;
    assert_eq!(both, [three.clone(), two.clone(), one.clone()]);
    let whole = ask(api, of(&["west"])).await.unwrap().processes;
    assert_eq!(
        whole,
        [api.process(two).await.unwrap()],
        "as GetProcess has it"
    );
}

#[tokio::test]
async fn processes_are_listed_by_state_and_type() {
    let gateway = with_two().await;
    let api = &gateway.api;
    let range = json!({"default_low": 0, "default_high": 2});
    api.enable("east", "randomness", range).await;
    let draw = "randomness.delayed-stochastic-vote";
    let parameters = json!({"options": ["a"], "delay": 60});
    let drawn = api
        .start("east", draw, parameters)
        .await
        .unwrap()
        .process_id;
    let open = vote(api, "east", "open").await.process_id;
    let closed = vote(api, "east", "closed").await.process_id;
    let cancelled = vote(api, "west", "cancelled").await.process_id;
    api.close(&closed).await.unwrap();
    api.cancel(&cancelled).await.unwrap();
    let wanted = |states: &[ProcessState], process_type: &str| ListProcessesRequest {
        states: states.iter().map(|state| (*state).into()).collect(),
        process_type: process_type.to_owned(),
        ..Default::default()
    };
    use ProcessState::{Cancelled, Completed, Failed, Open, Starting};
    for (states, process_type, expected) in [
        (&[Open][..], "", vec![&open, &drawn]),
        (&[Completed, Cancelled], "", vec![&cancelled, &closed]),
        (&[Starting, Failed], "", vec![]),
        (&[], draw, vec![&drawn]),
        (&[Open], "ballot.vote", vec![&open]),
        (&[Completed], draw, vec![]),
    ] {
        let found = ids(api, wanted(states, process_type)).await;
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            expected,
            "{states:?} {process_type}"
        );
    }
    let east = ListProcessesRequest {
        states: vec![Cancelled.into()],
        ..of(&["east"])
    };
    assert_eq!(ids(api, east).await, Vec::<String>::new());
}

#[tokio::test]
async fn pages_of_processes_have_each_once_also_while_more_start() {
    let gateway = with_two().await;
    let api = &gateway.api;
    let mut expected = Vec::new();
    for number in 0..7 {
        let community = ["east", "west"][number % 2];
        let started = vote(api, community, &number.to_string()).await;
        expected.insert(0, started.process_id);
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    for size in [3, 3, 1] {
        let request = ListProcessesRequest {
            page_size: 3,
            page_token: token,
            ..Default::default()
        };
        let page = ask(api, request).await.unwrap();
        assert_eq!(page.processes.len(), size);
        seen.extend(page.processes.into_iter().map(|process| process.process_id));
        token = page.next_page_token;
        vote(api, "east", "newer").await;
    }
    assert_eq!((seen, token.as_str()), (expected, ""));
    let full = ListProcessesRequest {
        page_size: 10,
        ..Default::default()
    };
    assert_eq!(
        ids(api, full).await.len(),
        10,
        "a page that is just full is the last"
    );
}

#[tokio::test]
async fn a_page_has_fifty_processes_unless_said_otherwise() {
    let gateway = with_two().await;
    let api = &gateway.api;
    for number in 0..51 {
        vote(api, "east", &number.to_string()).await;
    }
    let first = ask(api, of(&[])).await.unwrap();
    assert_eq!(first.processes.len(), 50);
    let rest = ListProcessesRequest {
        page_token: first.next_page_token,
        ..Default::default()
    };
    assert_eq!(ids(api, rest).await.len(), 1);
    let all = ListProcessesRequest {
        page_size: 1000,
        ..Default::default()
    };
    assert_eq!(ids(api, all).await.len(), 51);
}

#[tokio::test]
async fn what_cannot_be_listed_is_named() {
    let gateway = with_two().await;
    let api = &gateway.api;
    for number in 0..2 {
        vote(api, "east", &number.to_string()).await;
    }
    let request = ListProcessesRequest::default;
    let communities = metagov_proto::v1::ListCommunitiesRequest {
        page_size: 1,
        ..Default::default()
    };
    let foreign = api.communities().list_communities(communities).await;
    let foreign = foreign.unwrap().into_inner().next_page_token;
    let size = |page_size| ListProcessesRequest {
        page_size,
        ..request()
    };
    let token = |token: &str| ListProcessesRequest {
        page_token: token.to_owned(),
        ..request()
    };
    let state = |state| ListProcessesRequest {
        states: vec![state],
        ..request()
    };
    for (wrong, field) in [
        (size(-1), "page_size"),
        (size(1001), "page_size"),
        (size(i32::MIN), "page_size"),
        (token("nonsense"), "page_token"),
        (token("!"), "page_token"),
        (token(&foreign), "page_token"),
        (state(0), "states"),
        (state(77), "states"),
        (of(&["East"]), "community_ids"),
        (of(&["east", ""]), "community_ids"),
    ] {
        let refused = fault(ask(api, wrong.clone()).await);
        assert!(
            refused.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{wrong:?}: {refused:?}"
        );
        assert_eq!(refused.fields, [field], "{wrong:?}");
    }
    let unknown = fault(ask(api, of(&["east", "north"])).await);
    assert!(
        unknown.is(Code::NotFound, "COMMUNITY_NOT_FOUND"),
        "{unknown:?}"
    );
    assert_eq!(unknown.metadata["community_id"], "north");
    for process_type in ["ballot", "ballot.cast", "nobody.vote"] {
        let unknown = ListProcessesRequest {
            process_type: process_type.to_owned(),
            ..request()
        };
        let unknown = fault(ask(api, unknown).await);
        assert!(
            unknown.is(Code::NotFound, "PLUGIN_NOT_FOUND"),
            "{unknown:?}"
        );
        assert_eq!(unknown.metadata["name"], process_type);
    }
}
