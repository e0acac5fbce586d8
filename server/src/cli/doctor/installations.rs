//! Whether platforms still accept what a community has enabled.

use metagov_proto::v1::{CheckInstallationRequest, Installation, ListInstallationsRequest};
use tonic::{Code, Status};

use super::finding::Finding;
use crate::cli::{Exit, Failure, client::Client, pages};

/// Asks the platform of each installation of a community.
pub(super) async fn of(client: &mut Client, community: &str) -> Vec<Finding> {
    let doing = format!("community {community}");
    let installations = pages::all(&doing, usize::MAX, async |page_size, page_token| {
        let request = ListInstallationsRequest {
            community_id: community.to_owned(),
            page_size,
            page_token,
            ..Default::default()
        };
        let page = client
            .plugins
            .list_installations(request)
            .await?
            .into_inner();
        Ok((page.installations, page.next_page_token))
    });
    let installations: Vec<Installation> = match installations.await {
        Ok(installations) => installations,
        Err(failure) => return vec![Finding::failed(community, &failure)],
    };
    let mut findings = Vec::new();
    for installation in installations {
        findings.push(check(client, community, installation).await);
    }
    findings
}

async fn check(client: &mut Client, community: &str, installation: Installation) -> Finding {
    let name = format!("{} in {community}", installation.plugin);
    let installation_id = installation.installation_id;
    let doing = format!("installation {installation_id}");
    let request = CheckInstallationRequest { installation_id };
    let answer = client.plugins.check_installation(request).await;
    let problem = match answer {
        Ok(answer) => answer.into_inner().installation.unwrap_or_default().problem,
        Err(status) => return unchecked(name, &doing, &status),
    };
    match problem.is_empty() {
        true => Finding::right(name, "its platform accepts it"),
        false => Finding::wrong(
            name,
            Exit::Refused,
            format!("{doing}: {problem}"),
            "give it credentials that hold with `metagov apply`, or authorize it anew",
        ),
    }
}

fn unchecked(name: String, doing: &str, status: &Status) -> Finding {
    let failure = Failure::answered(doing, status);
    match status.code() {
        // Nothing is wrong with the installation.
        Code::PermissionDenied | Code::NotFound => {
            Finding::doubtful(name, failure.text, "ask with a token that may")
        }
        _ => Finding::failed(name, &failure),
    }
}
