use super::*;
use crate::spec::pool::MemberSpec;

fn pool(name: &str, port: u16) -> AnyDraft {
    let members = vec![MemberSpec::new(([10, 0, 0, 1], port).into())];
    AnyDraft::Pool(Draft::new(name, PoolSpec { members, ..PoolSpec::default() }))
}

fn applied(config: &Config, drafts: Vec<AnyDraft>, options: &PlanOptions) -> (Config, Plan) {
    let plan = plan(config, 1, &drafts, options);
    let edits = edits(&plan, drafts, || "uid".to_owned());
    (config.edited(&edits, 2, 0).unwrap(), plan)
}

fn actions(plan: &Plan) -> Vec<(&str, PlanAction)> {
    plan.items.iter().map(|item| (item.resource.name.as_str(), item.action)).collect()
}

#[test]
fn a_plan_says_what_applying_it_does_and_a_second_time_nothing_is_left() {
    let options = PlanOptions { prune: true, label: None };
    let (config, _) = applied(&Config::default(), vec![pool("a", 1), pool("b", 1)], &options);
    let wanted = vec![pool("a", 2), pool("c", 1)];
    let (config, made) = applied(&config, wanted.clone(), &options);
    assert_eq!(
        actions(&made),
        [("a", PlanAction::Update), ("c", PlanAction::Create), ("b", PlanAction::Delete)]
    );
    assert_eq!(made.items[0].fields[0].pointer, "/spec/members/0/port");
    let again = plan(&config, 2, &wanted, &options);
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn pruning_stays_within_its_label() {
    let label = |mut draft: AnyDraft| {
        if let AnyDraft::Pool(draft) = &mut draft {
            draft.labels.insert("team".to_owned(), "shop".to_owned());
        }
        draft
    };
    let mine = label(pool("mine", 1));
    let (config, _) =
        applied(&Config::default(), vec![mine, pool("theirs", 1)], &PlanOptions::default());
    let options = PlanOptions { prune: true, label: Some(("team".to_owned(), "shop".to_owned())) };
    let made = plan(&config, 2, &[], &options);
    assert_eq!(actions(&made), [("mine", PlanAction::Delete)]);
}

#[test]
fn an_export_applied_again_changes_nothing_although_it_holds_no_secrets() {
    let spec = CertificateSpec {
        chain_pem: "-----BEGIN CERTIFICATE-----".to_owned(),
        private_key_pem: None,
        private_key_sealed: Some(crate::Sealed {
            key_id: 1,
            nonce: "n".to_owned(),
            ciphertext: "c".to_owned(),
        }),
        fingerprint_sha256: Some("f".to_owned()),
        ..CertificateSpec::default()
    };
    let drafts = vec![AnyDraft::Certificate(Draft::new("c", spec)), pool("p", 1)];
    let (config, _) = applied(&Config::default(), drafts, &PlanOptions::default());
    let exported = serde_json::to_string(&Declaration::export(&config)).unwrap();
    assert!(!exported.contains("ciphertext"));
    let read: Declaration = serde_json::from_str(&exported).unwrap();
    let drafts: Vec<_> = read.into_drafts().into_iter().map(|(_, draft)| draft).collect();
    let made = plan(&config, 2, &drafts, &PlanOptions { prune: true, label: None });
    assert!(made.is_empty(), "{made:?}");
}

#[test]
fn a_secret_never_shows_in_a_plan() {
    let certificate = |key: &str| {
        AnyDraft::Certificate(Draft::new(
            "c",
            CertificateSpec {
                chain_pem: "-----BEGIN CERTIFICATE-----".to_owned(),
                private_key_pem: Some(format!("PRIVATE KEY----- {key}")),
                ..CertificateSpec::default()
            },
        ))
    };
    let options = PlanOptions::default();
    let (config, _) = applied(&Config::default(), vec![certificate("first")], &options);
    let made = plan(&config, 2, &[certificate("second")], &options);
    let text = serde_json::to_string(&made).unwrap();
    assert!(text.contains("(secret)") && !text.contains("first") && !text.contains("second"));
}

#[test]
fn taking_the_last_enabled_member_is_warned_of() {
    let options = PlanOptions::default();
    let (config, _) = applied(&Config::default(), vec![pool("a", 1)], &options);
    let empty = AnyDraft::Pool(Draft::new("a", PoolSpec::default()));
    assert_eq!(plan(&config, 2, &[empty], &options).warnings.len(), 1);
}
