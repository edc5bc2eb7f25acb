use ballast_model::api::{ApplyReport, ClusterInfo, ClusterNode};
use ballast_model::command::Origin;
use ballast_model::event::{Event, EventBody};
use ballast_model::plan::{Plan, PlanAction, PlanItem};
use ballast_model::status::{
    ClusterStatus, Health, MemberStatus, NodeReport, NodeStatus, PlaneStatus, RaftStatus,
};
use ballast_model::{AdminState, NodeRole, ResourceRef};
use clap::CommandFactory;
use serde_json::json;

use super::*;

const AT_MS: u64 = 1_700_000_000_000;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["ballastctl"].into_iter().chain(line.split_whitespace()))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn what_guides_and_scripts_say_is_understood() {
    for line in [
        "login https://lb1:7443 --username ada --password-file f --ca-fingerprint ab",
        "login https://127.0.0.1:7443 --username ada",
        "login https://lb1:7443 --token-file f --insecure",
        "logout",
        "get tokens",
        "get pool web -o json",
        "get vs --label team=shop --label tier=web -q shop",
        "apply -f site.json --dry-run",
        "apply -f site.json --wait -o json",
        "apply -f - --prune --label team=shop",
        "export",
        "delete vs shop --if-revision 7 --wait",
        "status -o json",
        "-o json status",
        "cluster status",
        "cluster join-token --role witness -o json",
        "cluster remove-node OLD",
        "member drain web 10.0.0.21:8080 --deadline-s 60",
        "member enable web 10.0.0.21:8080 --wait",
        "member disable web a",
        "member force-offline web a",
        "user add ada --role operator --password-file f",
        "user set-password ada",
        "token create ci --role editor --expires-in-days 30",
        "events --kinds health,leader",
        "events --kinds ha",
        "ha status -o json",
        "ha events --limit 20 --group blue --node lb1",
        "ha preview --down lb1 --down lb2",
        "ha preview --down lb1,lb2",
        "ha failover blue",
        "ha failover blue --to lb2",
        "ha standby lb1",
        "ha maintenance lb1 --wait",
        "ha offline lb1",
        "ha available lb1",
        "completion bash",
    ] {
        let parsed = parse(line);
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        assert_eq!(parsed.unwrap().output == Format::Json, line.contains("-o json"), "{line}");
    }
}

#[test]
fn contradictions_are_mistakes_of_usage() {
    for line in [
        "",
        "get",
        "get things",
        "get pools web --label a=b",
        "get pools --label nothing",
        "apply",
        "apply -f f --label a=b",
        "cluster join-token",
        "cluster join-token --role king",
        "login https://lb1 --insecure --ca-fingerprint ab",
        "login https://lb1 --token-file f --username ada",
        "member enable web a --deadline-s 5",
        "token create ci --role editor --expires-in-days 0",
        "status -o yaml",
        "ha",
        "ha failover",
        "ha events --limit 0",
        "ha standby",
    ] {
        assert_eq!(
            parse(line).unwrap_err().exit_code(),
            i32::from(crate::failure::USAGE),
            "{line}"
        );
    }
}

#[test]
fn help_documents_exit_codes_and_every_command() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("Exit codes:") && help.contains("BALLAST_CA_FINGERPRINT"), "{help}");
    for command in Cli::command().get_subcommands() {
        assert!(command.get_about().is_some(), "{} has no description", command.get_name());
    }
}

#[test]
fn kinds_have_the_names_that_people_use() {
    for noun in ["virtual-servers", "virtual-server", "virtual_servers", "vs", "Virtual-Servers"] {
        assert_eq!(kind(noun), Ok(Kind::VirtualServer), "{noun}");
    }
    assert_eq!(kind("cert"), Ok(Kind::Certificate));
    for kind_of_all in Kind::ALL {
        assert_eq!(kind(kind_of_all.plural()), Ok(*kind_of_all));
        assert_eq!(kind(kind_of_all.singular()), Ok(*kind_of_all));
    }
    assert!(kind("things").unwrap_err().contains("virtual-servers"));
}

#[test]
fn a_node_that_is_away_is_no_failure_but_one_that_lags_is() {
    assert!(carried_out(&[]).is_ok());
    assert!(carried_out(&["lb2=unreachable".to_owned()]).is_ok());
    let late = ["lb2=unreachable".to_owned(), "lb3=timeout".to_owned()];
    let failure = carried_out(&late).unwrap_err();
    assert_eq!(failure.exit_code(), crate::failure::FAILED);
    assert!(failure.to_string().contains("by lb3;"), "{failure}");
}

#[test]
fn apply_says_what_became_of_the_plan() {
    let resource = ResourceRef { kind: Kind::Pool, name: "web".to_owned() };
    let item = PlanItem { action: PlanAction::Create, resource, fields: vec![] };
    let plan = Plan { index: 7, items: vec![item], warnings: vec![] };
    let report = |applied, plan: &Plan| ApplyReport { applied, index: 7, plan: plan.clone() };
    let said = |applied, plan, dry_run, everywhere| {
        apply::outcome(&report(applied, plan), dry_run, everywhere)
    };
    assert_eq!(said(true, &plan, false, false), "applied as index 7");
    assert_eq!(said(true, &plan, false, true), "applied as index 7, carried out by every node");
    assert!(said(false, &plan, true, false).starts_with("dry run: nothing was written"));
    assert!(said(false, &Plan::default(), false, false).starts_with("nothing changes"));
}

fn pool() -> serde_json::Value {
    json!({
        "name": "web", "uid": "u", "revision": 42, "created_at_ms": AT_MS, "updated_at_ms": AT_MS,
        "labels": { "team": "shop" }, "description": "Two\u{1b}[2J servers",
        "spec": {
            "monitors": ["alive", "deep"],
            "members": [
                { "address": "10.0.0.1", "port": 80 },
                { "name": "b", "address": "2001:db8::1", "port": 80, "weight": 5,
                  "admin_state": "draining", "drain_until_ms": AT_MS },
            ],
        },
    })
}

#[test]
fn a_list_has_a_row_for_each_resource() {
    let text = get::render(Kind::Pool, vec![pool()], false).unwrap();
    insta::assert_snapshot!(text, @"
    NAME  ALGORITHM    MEMBERS  MONITORS    REVISION  CHANGED
    web   round_robin  2        alive deep  42        2023-11-14T22:13:20Z
    ");
    let server = json!({
        "name": "shop", "uid": "u", "revision": 7, "created_at_ms": 0, "updated_at_ms": AT_MS,
        "spec": { "protocol": "http", "addresses": ["0.0.0.0", "::"], "ports": [80], "pool": "web",
                  "enabled": false, "persistence": { "type": "cookie" } },
    });
    let text = get::render(Kind::VirtualServer, vec![server], false).unwrap();
    insta::assert_snapshot!(text, @"
    NAME  PROTOCOL  LISTENS ON          POOL  PERSISTENCE  STATE     REVISION  CHANGED
    shop  http      0.0.0.0:80 [::]:80  web   cookie       disabled  7         2023-11-14T22:13:20Z
    ");
}

#[test]
fn a_single_pool_shows_its_members_as_declared_and_as_seen() {
    let text = get::render_one(Kind::Pool, pool(), false).unwrap();
    insta::assert_snapshot!(text, @r"
    NAME  ALGORITHM    MEMBERS  MONITORS    REVISION  CHANGED
    web   round_robin  2        alive deep  42        2023-11-14T22:13:20Z

    description  Two\u{1b}[2J servers
    labels       team=shop

    MEMBER       ADDRESS           WEIGHT  WANTED                               NODE  HEALTH  IN FLIGHT  REASON
    10.0.0.1:80  10.0.0.1:80       1       enabled                              -     -       -          -
    b            [2001:db8::1]:80  5       draining until 2023-11-14T22:13:20Z  -     -       -          -
    ");
    let mut pool = pool();
    pool["status"] = json!({ "nodes": [
        { "node": "lb1", "members": [member("b", Health::Down, AdminState::Draining)] },
        { "node": "lb2", "error": "connection refused" },
    ] });
    let text = get::render_one(Kind::Pool, pool, false).unwrap();
    let rows: Vec<_> = text.lines().rev().take(2).collect();
    insta::assert_snapshot!(rows.join("\n"), @r"
    b            [2001:db8::1]:80  5       draining until 2023-11-14T22:13:20Z  lb1   down    0          connection refused\n3 in a row
    10.0.0.1:80  10.0.0.1:80       1       enabled                              -     -       -          -
    ");
}

fn member(name: &str, health: Health, admin_state: AdminState) -> MemberStatus {
    MemberStatus {
        pool: "web".to_owned(),
        member: name.to_owned(),
        address: "10.0.0.1:80".to_owned(),
        admin_state,
        health,
        reason: "connection refused\n3 in a row".to_owned(),
        since_ms: AT_MS,
        last_probe_us: None,
        in_flight: 0,
        requests_total: 0,
        failures_total: 0,
        last_error: None,
        agent: None,
    }
}

fn cluster_status() -> ClusterStatus {
    let node = NodeStatus {
        dns: Vec::new(),
        jwt_providers: Vec::new(),
        certificates: Vec::new(),
        persistence_tables: Vec::new(),
        share_peers: Vec::new(),
        ha: None,
        name: "lb1".to_owned(),
        node_id: 1,
        role: NodeRole::Traffic,
        version: "0.1.0".to_owned(),
        started_at_ms: AT_MS,
        raft: RaftStatus { state: "leader".to_owned(), applied_index: 9, ..RaftStatus::default() },
        planes: vec![PlaneStatus { plane: "proxy".to_owned(), applied_index: 8, error: None }],
        listeners: vec![],
        members: vec![
            member("a", Health::Up, AdminState::Enabled),
            member("b", Health::Down, AdminState::Enabled),
            member("c", Health::Up, AdminState::Draining),
        ],
        virtual_servers: vec![],
    };
    let reports = [
        ("lb1", NodeRole::Traffic, Some(node), None),
        ("w", NodeRole::Witness, None, Some("connection refused".to_owned())),
    ];
    ClusterStatus {
        cluster_name: "prod".to_owned(),
        index: 9,
        leader: Some("lb1".to_owned()),
        writable: true,
        problems: vec!["node w does not answer: connection refused".to_owned()],
        nodes: reports
            .map(|(name, role, status, error)| NodeReport {
                name: name.to_owned(),
                role,
                status,
                error,
            })
            .to_vec(),
    }
}

#[test]
fn status_shows_problems_first_then_nodes_then_members_without_traffic() {
    insta::assert_snapshot!(status::render(&cluster_status(), false), @r"
    ! node w does not answer: connection refused

    cluster prod: index 9, writable, lb1 leads

    NODE  ROLE     STATE      APPLIED  MEMBERS UP  REQUESTS  VERSION
    lb1   traffic  leader     8        2/3         0         0.1.0
    w     witness  no answer  -        -           -         -

    POOL  MEMBER  WANTED    HEALTH  SINCE                 NODE  REASON
    web   b       enabled   down    2023-11-14T22:13:20Z  lb1   connection refused\n3 in a row
    web   c       draining  up      2023-11-14T22:13:20Z  lb1   connection refused\n3 in a row
    ");
}

#[test]
fn a_status_without_problems_says_so() {
    let mut status = cluster_status();
    status.problems.clear();
    status.nodes.clear();
    let text = status::render(&status, false);
    assert!(text.starts_with("all is as it should be\n") && !text.contains("REASON"), "{text}");
}

#[test]
fn cluster_status_shows_who_votes() {
    let node = |name: &str, node_id, voter| ClusterNode {
        name: name.to_owned(),
        node_id,
        role: NodeRole::Traffic,
        voter,
        cluster_address: format!("{name}:7400"),
        api_addresses: vec![format!("{name}:7443")],
    };
    let info = ClusterInfo {
        name: "prod".to_owned(),
        uid: "u".to_owned(),
        ca_certificate_pem: String::new(),
        ca_fingerprint_sha256: "abcd".to_owned(),
        answered_by: "lb1".to_owned(),
        leader: None,
        writable: false,
        nodes: vec![node("lb1", 1, true), node("lb2", 12, false)],
        join_tokens: 1,
    };
    insta::assert_snapshot!(cluster::render(&info, false), @"
    cluster      prod
    leader       none
    writable     no: no quorum; traffic flows on
    authority    abcd (SHA-256)
    join tokens  1 waiting
    answered by  lb1

    NODE  ID  ROLE     VOTES    CLUSTER ADDRESS  API
    lb1   1   traffic  yes      lb1:7400         lb1:7443
    lb2   12  traffic  not yet  lb2:7400         lb2:7443
    ");
}

#[test]
fn events_are_lines() {
    let changed = ResourceRef { kind: Kind::Pool, name: "web".to_owned() };
    let origin = Origin { actor: "ada".to_owned(), ..Origin::default() };
    let bodies = [
        EventBody::Config { index: 9, changed: vec![changed], origin },
        EventBody::Health {
            pool: "web".to_owned(),
            member: "a".to_owned(),
            health: Health::Down,
            reason: "refused\x07".to_owned(),
        },
        EventBody::Leader { leader: None },
        EventBody::Leader { leader: Some("lb2".to_owned()) },
        EventBody::Lagged,
    ];
    let lines = bodies.map(|body| {
        events::render(&Event { id: 1, at_ms: AT_MS, node: "lb1".to_owned(), body }, false)
    });
    insta::assert_snapshot!(lines.join("\n"), @r"
    2023-11-14T22:13:20Z  lb1  config  pools/web changed by ada (index 9)
    2023-11-14T22:13:20Z  lb1  health  web/a down: refused\u{7}
    2023-11-14T22:13:20Z  lb1  leader  nobody leads
    2023-11-14T22:13:20Z  lb1  leader  lb2 leads
    2023-11-14T22:13:20Z  lb1  lagged  some events were missed
    ");
}
