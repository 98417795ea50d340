//! What the checks find in one read of a set, in a world that is well but for what a test changes.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::cli::doctor::facts::flux::FluxObject;
use crate::cli::doctor::facts::rights::{Asked, of_hands, of_set};
use crate::cli::doctor::facts::{
    Answer, Controller, Facts, FluxController, LeaseSeen, Place, Reached, SetFacts, Told,
};
use crate::cli::doctor::finding::{Report, Severity};
use crate::cli::markers;
use crate::cli::printer::Palette;
use crate::telemetry::clock::Clock;

/// A set that is well, with what `change` makes of it.
fn examine(change: impl FnOnce(&mut Value)) -> Report {
    examine_in(change, |_| {})
}

/// The same in a world that is well, with what `world` makes of that.
fn examine_in(change: impl FnOnce(&mut Value), world: impl FnOnce(&mut Facts)) -> Report {
    let mut set = json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ReleaseSet",
        "metadata": {
            "namespace": "acme", "name": "shop", "generation": 2,
            "labels": {
                "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "acme",
            },
        },
        "spec": {
            "images": [{"name": "app", "repository": "ghcr.io/acme/app"}],
            "candidates": {"policy": {"alphabetical": {}}},
            "targets": [{"name": "config", "configMap": {"name": "acme-release"}}]
        },
        "status": {
            "observedGeneration": 2,
            "conditions": [condition("Ready", "True", "Succeeded", "main-7 is promoted")],
            "promoted": {"tag": "main-7", "sequence": 3, "at": "2026-01-01T00:00:00Z", "generation": 1, "images": []},
            "targets": [{"name": "config", "state": "Applied", "sequence": 3, "since": "2026-01-01T00:00:00Z"}]
        },
    });
    change(&mut set);
    let object: kube::api::DynamicObject = serde_json::from_value(set).unwrap();
    let findings = match Found::new(object.clone()) {
        Ok(found) => {
            let mut facts = well(&found);
            world(&mut facts);
            crate::cli::doctor::examine(&[found], &facts, &Clock::system(), "tidegate")
        }
        Err(error) => vec![crate::cli::doctor::unreadable(&object, &error)],
    };
    Report { namespace: "acme".to_owned(), findings }
}

/// The findings of one check.
fn of<'a>(report: &'a Report, check: &str) -> Vec<&'a Finding> {
    assert!(CHECKS.iter().any(|known| known.name == check), "{check} is no check");
    report.findings.iter().filter(|finding| finding.check == check).collect()
}

/// Everything was read, and nothing is wrong.
fn well(found: &Found) -> Facts {
    let controller = Controller {
        namespace: "tidegate".to_owned(),
        name: "tidegate".to_owned(),
        image: format!("ghcr.io/acme/tidegate:{}", env!("CARGO_PKG_VERSION")),
        replicas: 2,
        ready: 2,
        service_account: "tidegate".to_owned(),
        elects: true,
        ..Controller::default()
    };
    let lease = LeaseSeen {
        namespace: "tidegate".to_owned(),
        name: "tidegate".to_owned(),
        holder: "tidegate-1".to_owned(),
        is_renewed: true,
        ..LeaseSeen::default()
    };
    let flux = FluxController {
        name: "kustomize-controller".to_owned(),
        version: Some("v2.9.4".to_owned()),
        ready: 1,
    };
    let user = Asked::User { name: controller.user(), namespace: "tidegate".to_owned() };
    let rights = of_hands().into_iter().map(|rule| (Asked::Me, rule));
    let rights = rights.chain(of_set(&found.spec).into_iter().map(|rule| (user.clone(), rule)));
    let groups = [("image.toolkit.fluxcd.io", "v1"), ("kustomize.toolkit.fluxcd.io", "v1")];
    let groups = groups.map(|(group, version)| (group.to_owned(), vec![version.to_owned()]));
    let installation = Installation {
        crd: Told::Found(crate::api::crd::crd()),
        controllers: Told::Found(vec![controller]),
        leases: Told::Found(vec![lease]),
        flux_groups: Told::Found(groups.into_iter().collect()),
        flux_controllers: Told::Found(vec![flux]),
        clock_ahead: Told::Found(jiff::SignedDuration::ZERO),
        guards: Told::Found(Vec::new()),
    };
    let apps = object("acme", "apps", &json!({"path": "./apps"}));
    let reader = object("acme", "reader", &substituting("acme-release", false));
    let place = Place {
        namespace: "acme".to_owned(),
        guard_label: Told::Found(String::new()),
        guard_allowed: Told::Absent,
        promoted_sets: 1,
        rights: rights.map(|question| (question, Told::Found(true))).collect(),
        kustomizations: Told::Found(vec![apps, reader]),
        helm_releases: Told::Found(Vec::new()),
        image_repositories: Told::Found(vec![object("acme", "app", &json!({"image": "ghcr.io/acme/app"}))]),
        image_policies: Told::Found(Vec::new()),
        automations: Told::Found(vec![object("acme", "updates", &json!({"sourceRef": {"name": "fleet"}}))]),
        sources: Told::Found(vec![object("acme", "fleet", &json!({"ref": {"branch": "main"}}))]),
        watched: vec![Told::Found(["shop".to_owned()].into())],
        ..Place::default()
    };
    let label = ("reconcile.fluxcd.io/watch".to_owned(), "Enabled".to_owned());
    let answered = Reached {
        repository: "ghcr.io/acme/app".to_owned(),
        answer: Answer::Listed(7),
        ..Reached::default()
    };
    let set = SetFacts {
        config_maps: [("acme-release".to_owned(), Told::Found([label].into()))].into(),
        registries: Told::Found(vec![answered]),
    };
    Facts {
        installation,
        places: BTreeMap::from([("acme".to_owned(), place)]),
        sets: BTreeMap::from([(("acme".to_owned(), "shop".to_owned()), set)]),
        markers: None,
    }
}

fn object<T: serde::de::DeserializeOwned>(namespace: &str, name: &str, spec: &Value) -> FluxObject<T> {
    FluxObject {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels: BTreeMap::new(),
        spec: serde_json::from_value(spec.clone()).unwrap(),
    }
}

fn substituting(map: &str, optional: bool) -> Value {
    json!({"postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": map, "optional": optional}]}})
}

fn place(facts: &mut Facts) -> &mut Place {
    facts.places.get_mut("acme").unwrap()
}

fn image_policy(set: &mut Value) {
    set["spec"]["targets"] =
        json!([{"name": "flux", "imagePolicy": {"name": "shop", "imageRepositoryRef": {"name": "app"}}}]);
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

fn managed(manager: &str, operation: &str, spec: &Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "tidegate.dev/v1alpha1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": spec}})
}

fn table(report: &Report) -> String {
    report.table(Palette::PLAIN)
}

#[test]
fn a_set_that_is_well_is_told_so_by_every_check() {
    let report = examine(|set| {
        set["metadata"]["managedFields"] = json!([
            managed("tidegate-cli", "Update", &json!({"f:pin": {}, "f:suspend": {}})),
            managed(
                "kustomize-controller",
                "Apply",
                &json!({"f:images": {}, "f:skip": {"v:\"main-6\"": {}}})
            ),
        ]);
    });
    assert_eq!(report.count(Severity::Ok), report.findings.len());
    assert!(CHECKS.iter().all(|check| report.findings.iter().any(|finding| finding.check == check.name)));
    insta::assert_snapshot!("well", table(&report));
}

#[test]
fn fields_that_flux_undoes_are_told_with_what_to_do() {
    let report = examine(|set| {
        set["spec"]["suspend"] = false.into();
        set["spec"]["pin"] = "main-7".into();
        set["spec"]["skip"] = json!(["main-8", "main-9"]);
        set["metadata"]["managedFields"] = json!([
            managed("kustomize-controller", "Apply", &json!({"f:suspend": {}})),
            managed("kubectl-patch", "Update", &json!({"f:pin": {}, "f:skip": {"v:\"main-8\"": {}}})),
            managed("headlamp", "Update", &json!({"f:skip": {"v:\"main-9\"": {}}})),
        ]);
    });
    insta::assert_snapshot!("undone", table(&report));
    assert_eq!((report.count(Severity::Warn), report.count(Severity::Fail)), (4, 0));
}

#[test]
fn without_a_kustomization_nobody_drops_what_kubectl_set() {
    let report = examine(|set| {
        set["metadata"]["labels"] = json!({});
        set["spec"]["pin"] = "main-7".into();
        set["metadata"]["managedFields"] = json!([managed("kubectl-patch", "Update", &json!({"f:pin": {}}))]);
    });
    assert_eq!(report.count(Severity::Ok), report.findings.len(), "{}", table(&report));
}

#[test]
fn conditions_and_targets_are_told_with_the_next_step() {
    let report = examine(|set| {
        set["spec"]["suspend"] = true.into();
        set["spec"]["targets"] = json!([
            {"name": "config", "configMap": {"name": "acme-release"}},
            {"name": "flux", "imagePolicy": {"name": "acme", "imageRepositoryRef": {"name": "app"}}}
        ]);
        set["status"]["observedGeneration"] = 1.into();
        set["status"]["conditions"] = json!([
            condition("Ready", "False", "TargetNotApplied", "config does not carry main-7"),
            condition("Stalled", "True", "TargetTaken", "ConfigMap/acme-release exists and is not ours"),
            condition("TagMoved", "True", "TagMoved", "app:main-7 points at sha256:2 now"),
            condition("PromotedAvailable", "False", "PromotedGone", "worker:main-7 is gone"),
        ]);
        set["status"]["targets"] = json!([
            {"name": "config", "state": "Taken", "since": "2026-01-01T00:00:00Z",
                "message": "ConfigMap/acme-release exists and is not ours\u{1b}[2J"},
            {"name": "a", "state": "Ahead", "since": "2026-01-01T00:00:00Z"},
            {"name": "b", "state": "Failed", "since": "2026-01-01T00:00:00Z", "message": "forbidden"},
            {"name": "c", "state": "Pending", "since": "2026-01-01T00:00:00Z"},
        ]);
    });
    assert!(!table(&report).contains('\u{1b}'));
    insta::assert_snapshot!("alarms", table(&report));
    insta::assert_json_snapshot!("alarms_json", of(&report, "hands").first());
}

#[test]
fn a_release_behind_its_spec_and_an_order_that_cannot_be_told_are_findings() {
    for (of, status, reason, is_finding) in [
        ("Promoted", "True", "PromotedBehindSpec", true),
        ("Promoted", "True", "Promoted", false),
        ("CandidateComplete", "False", "OrderUntold", true),
        ("CandidateComplete", "False", "Missing", false),
    ] {
        let report =
            examine(|set| set["status"]["conditions"] = json!([condition(of, status, reason, "in words")]));
        assert_eq!(
            report.count(Severity::Warn),
            usize::from(is_finding),
            "{of} {reason}: {}",
            table(&report)
        );
    }
}

#[test]
fn a_set_that_nobody_looks_at_has_failed() {
    let report = examine(|set| set["status"] = json!({"observedGeneration": -1}));
    assert_eq!(report.count(Severity::Fail), 1, "{}", table(&report));
    let unreadable = examine(|set| set["spec"]["images"] = 7.into());
    insta::assert_snapshot!("unreadable", table(&unreadable));
}

/// Failure sequence 25: the set is applied by what waits for the set's ConfigMap.
#[test]
fn sequence_25_a_set_applied_by_what_reads_its_config_map_is_a_deadlock() {
    for (map, optional, exists, severity) in [
        ("acme-release", false, false, Severity::Fail),
        ("acme-release", false, true, Severity::Warn),
        ("acme-release", true, false, Severity::Ok),
        ("another", false, false, Severity::Ok),
    ] {
        let report = examine_in(
            |_| {},
            |facts| {
                place(facts).kustomizations =
                    Told::Found(vec![object("acme", "apps", &substituting(map, optional))]);
                if !exists {
                    let set = facts.sets.values_mut().next().unwrap();
                    set.config_maps.insert("acme-release".to_owned(), Told::Absent);
                }
            },
        );
        let found = of(&report, "bootstrap");
        assert_eq!((found.len(), found[0].severity), (1, severity), "{map} {optional} {exists}: {found:?}");
    }
}

#[test]
fn sequence_25_a_deadlock_is_found_behind_depends_on_and_in_helm_releases() {
    let behind = examine_in(
        |_| {},
        |facts| {
            let chain = [
                object("acme", "apps", &json!({"dependsOn": [{"name": "infra"}]})),
                object("acme", "infra", &json!({"dependsOn": [{"name": "base"}, {"name": "apps"}]})),
                object("acme", "base", &substituting("acme-release", false)),
            ];
            place(facts).kustomizations = Told::Found(chain.to_vec());
        },
    );
    let found = of(&behind, "bootstrap");
    assert!(found[0].what.contains("depends on acme/base"), "{found:?}");
    let helm = examine_in(
        |set| {
            set["metadata"]["labels"] =
                json!({"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "acme"});
        },
        |facts| {
            let values = json!({"valuesFrom": [{"kind": "ConfigMap", "name": "acme-release", "valuesKey": "RELEASE_TAG"}]});
            place(facts).helm_releases = Told::Found(vec![object("acme", "shop", &values)]);
        },
    );
    let found = of(&helm, "bootstrap");
    assert!(found[0].what.contains("HelmRelease acme/shop applies this set"), "{found:?}");
}

#[test]
fn sequence_25_what_cannot_be_listed_is_no_all_clear() {
    let report = examine_in(|_| {}, |facts| place(facts).kustomizations = Told::Untold("403".to_owned()));
    assert_eq!(of(&report, "bootstrap")[0].severity, Severity::Unknown);
    let elsewhere = examine_in(
        |set| set["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/namespace"] = "flux-system".into(),
        |facts| place(facts).is_partial = true,
    );
    let found = of(&elsewhere, "bootstrap");
    assert_eq!(found[0].severity, Severity::Unknown, "{found:?}");
}

/// Failure sequence 25: `web-ui` becomes `WEB_UI_IMAGE`; a key of the user's own is no variable by itself.
#[test]
fn sequence_25_a_key_that_is_no_variable_fails_the_whole_build() {
    let well = examine(|set| set["spec"]["images"][0]["name"] = "web-ui".into());
    assert_eq!(of(&well, "substitution")[0].severity, Severity::Ok);
    let report =
        examine(|set| set["spec"]["targets"][0]["configMap"]["keys"] = json!({"web-ui.tag": "{tag}"}));
    let found = of(&report, "substitution");
    assert!(found[0].severity == Severity::Fail && found[0].what.contains("web-ui.tag"), "{found:?}");
}

#[test]
fn readers_that_do_not_find_the_config_map_are_told() {
    let mut words = Vec::new();
    let mut told = |kustomizations: Vec<FluxObject<_>>, helm_releases: Vec<FluxObject<_>>, label: &str| {
        let report = examine_in(
            |_| {},
            |facts| {
                place(facts).kustomizations = Told::Found(kustomizations);
                place(facts).helm_releases = Told::Found(helm_releases);
                let labels = [("reconcile.fluxcd.io/watch".to_owned(), label.to_owned())].into();
                let set = facts.sets.values_mut().next().unwrap();
                set.config_maps.insert("acme-release".to_owned(), Told::Found(labels));
            },
        );
        words.extend(
            of(&report, "substitution")
                .iter()
                .map(|found| format!("{} {}", found.severity.word(), found.what)),
        );
    };
    told(vec![object("acme", "apps", &substituting("acme-release", true))], vec![], "Disabled");
    told(vec![object("flux-system", "apps", &substituting("acme-release", true))], vec![], "Enabled");
    told(vec![], vec![], "Enabled");
    let values = |key: &str| json!({"suspend": true, "valuesFrom": [{"kind": "ConfigMap", "name": "acme-release", "valuesKey": key}]});
    told(vec![], vec![object("acme", "shop", &values("APP_IMAGE"))], "Enabled");
    told(vec![], vec![object("acme", "shop", &values("image.tag"))], "Enabled");
    insta::assert_snapshot!("substitution", words.join("\n"));
}

#[test]
fn what_stands_in_the_way_of_a_release_through_flux_is_told() {
    let automation = json!({
        "suspend": true, "sourceRef": {"name": "fleet"}, "git": {"push": {"branch": "releases"}},
    });
    let selecting = |label: &str| json!({"policySelector": {"matchLabels": {"tidegate.dev/set": label}}});
    let mut words = Vec::new();
    let mut told = |repository: Value, automations: Vec<Value>| {
        let report = examine_in(
            |set| {
                image_policy(set);
                set["spec"]["targets"][0]["imagePolicy"]["rolledOutBy"] = json!([{"kind": "Kustomization", "name": "apps"}, {"kind": "HelmRelease", "name": "gone"}]);
            },
            |facts| {
                let place = place(facts);
                place.kustomizations = Told::Found(vec![object("acme", "apps", &json!({"suspend": true}))]);
                place.image_repositories = Told::Found(vec![object("acme", "app", &repository)]);
                let made = automations.iter().map(|spec| object("acme", "updates", spec));
                place.automations = Told::Found(made.collect());
            },
        );
        words.extend(
            of(&report, "flux").iter().map(|found| format!("{} {}", found.severity.word(), found.what)),
        );
        words.push("--".to_owned());
    };
    told(json!({"suspend": true}), vec![automation]);
    told(json!({}), vec![]);
    told(json!({}), vec![selecting("other")]);
    told(json!({}), vec![selecting("shop")]);
    insta::assert_snapshot!("flux", words.join("\n"));
}

#[test]
fn an_exclusion_list_that_hides_the_release_is_told() {
    for (list, severity) in [
        (json!(["^main-7$"]), Severity::Fail),
        (json!(["^main-8"]), Severity::Warn),
        (json!(["^dev-"]), Severity::Ok),
        (json!(["(?<!a)b"]), Severity::Unknown),
        (Value::Null, Severity::Ok),
    ] {
        let report = examine_in(
            |set| {
                image_policy(set);
                set["status"]["candidates"] =
                    json!([{"tag": "main-8", "phase": "Partial", "firstSeen": "2026-01-01T00:00:00Z"}]);
            },
            |facts| {
                let spec = json!({"exclusionList": list});
                place(facts).image_repositories = Told::Found(vec![object("acme", "app", &spec)]);
            },
        );
        let found = of(&report, "exclusions");
        assert_eq!(found[0].severity, severity, "{list}: {found:?}");
    }
}

#[test]
fn markers_that_roll_too_much_or_too_little_are_told() {
    let text = r#"
images:
- name: ghcr.io/acme/app
  newTag: main-7 # {"$imagepolicy": "acme:shop:tag"}
- name: ghcr.io/acme/docs
  newTag: main-7 # {"$imagepolicy": "acme:shop:tag"}
- name: ghcr.io/acme/worker
  newTag: main-7 # {"$imagepolicy": "acme:app:tag"}
- name: ghcr.io/other/proxy
  newTag: main-7 # {"$imagepolicy": "acme:shop:tag"}

values:
  tag: main-7 # {"$imagepolicy": "acme:shop:tag"}
"#;
    let told = |text: Option<&str>| {
        let report = examine_in(
            |set| {
                image_policy(set);
                set["spec"]["images"] = json!([
                    {"name": "app", "repository": "ghcr.io/acme/app"},
                    {"name": "worker", "repository": "ghcr.io/acme/worker"},
                    {"name": "docs", "repository": "ghcr.io/acme/docs", "advisory": true}
                ]);
            },
            |facts| {
                facts.markers = text.map(|text| markers::Markers {
                    markers: markers::of_text(Path::new("apps/kustomization.yaml"), text),
                    incomplete: None,
                });
            },
        );
        let words = of(&report, "markers")
            .iter()
            .map(|found| format!("{} {}", found.severity.word(), found.what))
            .collect::<Vec<_>>();
        words.join("\n")
    };
    insta::assert_snapshot!("markers", [told(Some(text)), told(Some("")), told(None)].join("\n--\n"));
}

#[test]
fn patterns_of_the_set_and_of_a_policy_ref_are_told() {
    let report = examine(|set| {
        set["spec"]["candidates"]["filterTags"] = json!({"pattern": "main-[0-9]+"});
    });
    assert!(of(&report, "patterns")[0].next.as_ref().unwrap().contains("`^main-[0-9]+$`"));
    let by_policy = |policies: Told<Vec<FluxObject<_>>>| {
        let report = examine_in(
            |set| set["spec"]["candidates"] = json!({"policyRef": {"name": "app"}}),
            |facts| place(facts).image_policies = policies,
        );
        of(&report, "patterns")[0].severity
    };
    let policy = |pattern: &str| {
        Told::Found(vec![object("acme", "app", &json!({"filterTags": {"pattern": pattern}}))])
    };
    assert_eq!(by_policy(policy("^main$")), Severity::Ok);
    assert_eq!(by_policy(policy("main")), Severity::Warn);
    assert_eq!(by_policy(Told::Found(Vec::new())), Severity::Fail);
    assert_eq!(by_policy(Told::Untold("403".to_owned())), Severity::Unknown);
}

#[test]
fn shards_that_overlap_or_leave_a_set_out_are_told() {
    let shards = |watched: [Told<bool>; 2]| {
        let report = examine_in(
            |_| {},
            |facts| {
                let shard = |name: &str| Controller {
                    name: name.to_owned(),
                    selector: Some(format!("shard={name}")),
                    ..Controller::default()
                };
                facts.installation.controllers = Told::Found(vec![shard("a"), shard("b")]);
                let sets = |watches: bool| if watches { ["shop".to_owned()].into() } else { [].into() };
                place(facts).watched = watched.into_iter().map(|told| told.map(sets)).collect();
            },
        );
        of(&report, "watched")[0].severity
    };
    assert_eq!(shards([Told::Found(true), Told::Found(false)]), Severity::Ok);
    assert_eq!(shards([Told::Found(true), Told::Found(true)]), Severity::Warn);
    assert_eq!(shards([Told::Found(false), Told::Found(false)]), Severity::Fail);
    assert_eq!(shards([Told::Found(false), Told::Unasked]), Severity::Unknown);
}

#[test]
fn what_the_controller_may_not_do_is_told_with_the_feature() {
    let told = |answer: fn(&crate::cli::doctor::facts::rights::Rule) -> Told<bool>| {
        let report = examine_in(
            |set| set["spec"]["registry"] = json!({"secretRef": {"name": "pull"}}),
            |facts| {
                for ((asked, rule), told) in &mut place(facts).rights {
                    if *asked != Asked::Me {
                        *told = answer(rule);
                    }
                }
            },
        );
        of(&report, "controller-rights").into_iter().cloned().collect::<Vec<_>>()
    };
    let secrets = told(|rule| Told::Found(rule.resource != "secrets"));
    assert!(
        secrets[0].severity == Severity::Fail && secrets[0].what.ends_with("may not read Secret pull"),
        "{secrets:?}"
    );
    let target = told(|rule| Told::Found(rule.resource != "configmaps"));
    assert!(target[0].what.contains("create configmaps, get configmaps, update configmaps"), "{target:?}");
    assert_eq!(told(|_| Told::Untold("403".to_owned()))[0].severity, Severity::Unknown);
}

#[test]
fn registries_are_told_as_this_machine_sees_them() {
    let told = |answer: Answer, ahead: i64| {
        let report = examine_in(
            |_| {},
            |facts| {
                let reached = Reached {
                    repository: "ghcr.io/acme/app".to_owned(),
                    answer,
                    clock_ahead: Some(jiff::SignedDuration::from_secs(ahead)),
                    ..Reached::default()
                };
                facts.sets.values_mut().next().unwrap().registries = Told::Found(vec![reached]);
            },
        );
        of(&report, "registry")
            .iter()
            .map(|found| format!("{} {}", found.severity.word(), found.what))
            .collect::<Vec<_>>()
            .join("; ")
    };
    assert!(told(Answer::Listed(1), 0).starts_with("ok 1 repository answers"));
    assert_eq!(told(Answer::Missing, 0), "warn ghcr.io/acme/app knows no such repository or promoted tag");
    assert_eq!(told(Answer::Late, 0), "unknown could not be told: what ghcr.io/acme/app holds");
    let skewed = told(Answer::Listed(1), -60);
    assert_eq!(skewed, "warn the clock of ghcr.io/acme/app is 60 s ahead of the API server's");
}

#[test]
fn break_glass_is_told_whatever_this_program_knows_of_it() {
    let mut set = json!({"metadata": {"name": "shop", "managedFields": [
        managed("kustomize-controller", "Apply", &json!({"f:breakGlass": {}}))]},
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseSet", "spec": {
        "images": [{"name": "app", "repository": "ghcr.io/acme/app"}], "candidates": {"policy": {"alphabetical": {}}}}});
    let mut found = Found::new(serde_json::from_value(set.clone()).unwrap()).unwrap();
    set["spec"]["breakGlass"] = json!({"reason": "the registry is down"});
    found.object = serde_json::from_value(set).unwrap();
    let findings = crate::cli::doctor::examine(&[found], &Facts::default(), &Clock::system(), "tidegate");
    let report = Report { namespace: String::new(), findings };
    let told: Vec<_> = of(&report, "break-glass").iter().map(|found| found.what.clone()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("kustomize-controller sets spec.breakGlass"), "{told:?}");
}

/// Nobody could read anything: no check says ok of what it did not see, none fails, and none panics.
#[test]
fn what_was_not_read_is_unknown_and_never_ok() {
    let report = examine_in(image_policy, |facts| *facts = Facts::default());
    let about_the_set_alone =
        ["hands", "break-glass", "conditions", "targets", "bootstrap", "substitution", "patterns"];
    for finding in &report.findings {
        assert_ne!(finding.severity, Severity::Fail, "{finding:?}");
        let is_told = about_the_set_alone.contains(&finding.check) || finding.check == "markers";
        assert_eq!(finding.severity == Severity::Unknown, !is_told, "{finding:?}");
    }
}

/// Every name that JSON may carry has its line in the reference, and the reference has no other.
#[test]
fn the_reference_has_a_line_for_every_check() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/doctor.md");
    let page = std::fs::read_to_string(path).unwrap();
    let lines = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let told: Vec<&str> = lines.map(|(name, _)| name).collect();
    let mut expected: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    expected.push(crate::cli::doctor::READABLE);
    assert_eq!(told, expected);
}
