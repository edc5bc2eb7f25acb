use ballast_model::validate::FieldError;
use ballast_model::{Kind, ResourceRef};

use super::*;

fn rendered(problem: Problem) -> String {
    let problem = Problem { request_id: "r-1".to_owned(), ..problem };
    Failure::from(ClientError::from(problem)).render()
}

#[test]
fn every_fault_of_an_input_is_shown_with_its_pointer() {
    let fault = |pointer: &str, message: &str, resource: Option<ResourceRef>| FieldError {
        pointer: pointer.to_owned(),
        code: "out_of_range".to_owned(),
        message: message.to_owned(),
        resource,
    };
    let web = ResourceRef { kind: Kind::Pool, name: "web".to_owned() };
    let problem = Problem::invalid(vec![
        fault("/spec/members/0/weight", "is 300; the range is 0 to 256", Some(web)),
        fault("/monitors", "is \x1b[2J", None),
    ]);
    insta::assert_snapshot!(rendered(problem), @r"
    ballastctl: The input can't be accepted: 2 fields are at fault; see errors
      pools/web /spec/members/0/weight: is 300; the range is 0 to 256 (out_of_range)
      /monitors: is \u{1b}[2J (out_of_range)
      code: invalid (422), request r-1
    ");
}

#[test]
fn referrers_are_listed() {
    let referrer = ResourceRef { kind: Kind::VirtualServer, name: "shop".to_owned() };
    let problem = Problem {
        referrers: vec![referrer],
        ..Problem::new(409, "referenced", "The resource is in use", "pools/web is in use by …")
    };
    insta::assert_snapshot!(rendered(problem), @"
    ballastctl: The resource is in use: pools/web is in use by …
      used by virtual-servers/shop
      code: referenced (409), request r-1
      next: change or delete what uses it first
    ");
}

#[test]
fn what_to_do_next_is_said() {
    for (status, code, next) in [
        (401, "unauthenticated", "ballastctl login"),
        (401, "credentials_invalid", "name and password"),
        (403, "forbidden", "role"),
        (404, "not_found", "ballastctl get"),
        (412, "revision_mismatch", "read it again"),
        (503, "no_quorum", "traffic flows on"),
        (504, "outcome_unknown", "read before you repeat"),
    ] {
        let said = rendered(Problem::new(status, code, "Title", "detail"));
        assert!(said.contains(&format!("code: {code} ({status}), request r-1")), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("  next: ") && last.contains(next), "{said}");
    }
    let said = rendered(Problem::new(418, "teapot", "A teapot", "short and stout"));
    assert!(!said.contains("next:"), "{said}");
}

#[test]
fn exit_codes_tell_refusals_from_mistakes_on_the_command_line() {
    let problem = Problem::new(422, "invalid", "t", "d");
    assert_eq!(Failure::from(ClientError::from(problem)).exit_code(), 1);
    assert_eq!(Failure::from(ClientError::Settings("x".to_owned())).exit_code(), 2);
    assert_eq!(Failure::Usage("x".to_owned()).exit_code(), 2);
    assert_eq!(Failure::Unfinished("x".to_owned()).exit_code(), 1);
    let closed = io::Error::from(io::ErrorKind::BrokenPipe);
    assert!(Failure::Output(closed).is_closed_pipe());
}
