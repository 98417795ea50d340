//! Layouts as real repositories have them, and texts that nobody wants to meet.

use super::gather::{Gathered, Source, Unread};
use super::group::Trap;
use super::{Report, examine};
use crate::api::manifest;
use crate::api::validate;

const FLUX: &str = "\
apiVersion: v1
kind: List
items:
- apiVersion: image.toolkit.fluxcd.io/v1
  kind: ImageRepository
  metadata: {name: app, namespace: flux-system}
  spec: {image: ghcr.io/acme/app, interval: 5m, secretRef: {name: pull}}
- apiVersion: image.toolkit.fluxcd.io/v1
  kind: ImagePolicy
  metadata: {name: app, namespace: flux-system}
  spec:
    imageRepositoryRef: {name: app}
    filterTags: {pattern: '^main-(?P<n>[0-9]+)$', extract: $n}
    policy: {numerical: {order: asc}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {name: flux, namespace: flux-system}
spec: {update: {path: ./, strategy: Setters}}
";

fn report(files: &[(&str, &str)]) -> Report {
    let sources = files
        .iter()
        .map(|(name, text)| Source { name: (*name).to_owned(), text: (*text).to_owned(), is_file: true })
        .collect();
    let report = examine(&Gathered { sources, ..Gathered::default() });
    if !report.proposals.is_empty() {
        for manifest in manifest::read(&report.yaml()).unwrap() {
            assert_eq!(validate::policy(&manifest.spec, 0).err(), None, "{}", report.yaml());
            assert_eq!((&manifest.spec.pin, manifest.spec.suspend), (&None, None));
        }
    }
    report
}

fn beside_flux(text: &str) -> Report {
    report(&[("flux.yaml", FLUX), ("apps/kustomization.yaml", text)])
}

fn kustomize(images: &[(&str, &str, &str)]) -> String {
    let entry = |(name, tag, rest): &(&str, &str, &str)| format!("- name: {name}\n  newTag: {tag}{rest}\n");
    format!("images:\n{}", images.iter().map(entry).collect::<String>())
}

const MARKER: &str = " # {\"$imagepolicy\": \"flux-system:app:tag\"}";

#[test]
fn one_policy_behind_two_images_is_the_trap() {
    let report = beside_flux(&kustomize(&[
        ("ghcr.io/acme/worker", "main-7", MARKER),
        ("ghcr.io/acme/app", "main-7", MARKER),
        ("docker.io/library/redis", "7.2", ""),
    ]));
    let [proposal] = report.proposals.as_slice() else { panic!("{report:?}") };
    assert_eq!(proposal.trap, Trap::OnePolicy);
    let names: Vec<&str> = proposal.images.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(names, ["app", "worker"], "the lead is the policy's image");
    assert!(proposal.risks[0].contains("app's policy (flux-system/app) rolls worker without looking at it"));
    let yaml = report.yaml();
    // The sibling is reached as the lead is; the tag that runs is the floor.
    assert!(yaml.contains("secretRef:\n      name: pull") && yaml.contains("notBefore: main-7"), "{yaml}");
    assert!(yaml.contains("namespace: flux-system"), "{yaml}");
    assert_eq!(
        report
            .diff
            .matches("+  newTag: main-7 # {\"$imagepolicy\": \"flux-system:acme-release:tag\"}")
            .count(),
        2
    );
}

#[test]
fn what_the_marker_does_not_move_gets_one_and_is_said() {
    let report = beside_flux(&kustomize(&[
        ("ghcr.io/acme/app", "main-7", MARKER),
        ("ghcr.io/acme/worker", "main-7", MARKER),
        ("ghcr.io/acme/embeddings", "main-7", ""),
        ("ghcr.io/acme/docs", "main-7", " # by hand"),
    ]));
    let [proposal] = report.proposals.as_slice() else { panic!("{report:?}") };
    assert_eq!(proposal.images.len(), 4);
    assert!(proposal.risks[1].contains("docs and ghcr.io/acme/embeddings"), "{:?}", proposal.risks);
    assert!(
        report.diff.contains("-  newTag: main-7\n+  newTag: main-7 # {\"$imagepolicy\""),
        "{}",
        report.diff
    );
    assert!(
        proposal.notes.iter().any(|note| note.contains("kustomization.yaml:9 has no marker")),
        "{proposal:?}"
    );
}

#[test]
fn crlf_anchors_and_a_missing_end_of_line_are_kept() {
    let text = kustomize(&[("ghcr.io/acme/app", "&t main-7", MARKER), ("ghcr.io/acme/worker", "*t", MARKER)])
        .replace('\n', "\r\n");
    let report = beside_flux(text.trim_end());
    assert_eq!(report.proposals.len(), 1, "{report:?}");
    assert!(
        report
            .diff
            .contains("+  newTag: &t main-7 # {\"$imagepolicy\": \"flux-system:acme-release:tag\"}\r\n")
    );
}

#[test]
fn a_variable_behind_a_marker_moves_all_that_use_it() {
    let apps = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: \
                flux-system}\nspec:\n  path: ./apps\n  postBuild:\n    substitute:\n      TAG: main-7 # \
                {\"$imagepolicy\": \"flux-system:app:tag\"}\n";
    let workload = |name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n      \
             containers:\n      - name: x\n        image: ghcr.io/acme/{name}:${{TAG:=none}}\n---\n"
        )
    };
    let all = format!("{}{}", workload("app"), workload("worker"));
    let report = report(&[("flux.yaml", FLUX), ("clusters/apps.yaml", apps), ("apps/all.yaml", &all)]);
    let [proposal] = report.proposals.as_slice() else { panic!("{report:?}") };
    assert_eq!((proposal.trap, proposal.images.len()), (Trap::OnePolicy, 2));
    assert_eq!(
        report
            .diff
            .matches("+      TAG: main-7 # {\"$imagepolicy\": \"flux-system:acme-release:tag\"}")
            .count(),
        1
    );
}

#[test]
fn a_variable_of_a_config_map_is_overridden_by_ours() {
    let apps = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: \
                acme}\nspec:\n  path: ./apps\n  postBuild:\n    substituteFrom:\n    - kind: ConfigMap\n      name: \
                versions\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: versions}\ndata:\n  TAG: main-7\n";
    let text = "kind: CronJob\nspec:\n  a: [{image: 'ghcr.io/acme/app:${TAG}'}, {image: 'ghcr.io/acme/worker:${TAG}'}]\n";
    let report = report(&[("apps.yaml", apps), ("apps/all.yaml", text)]);
    let [proposal] = report.proposals.as_slice() else { panic!("{report:?}") };
    assert_eq!(proposal.trap, Trap::Unmarked);
    let yaml = report.yaml();
    assert!(yaml.contains("configMap:\n      name: acme-release\n      keys:\n        TAG: "), "{yaml}");
    assert!(
        report.diff.contains("+    - kind: ConfigMap\n+      name: acme-release\n+      optional: true\n"),
        "{}",
        report.diff
    );
}

#[test]
fn a_common_suffix_is_a_template() {
    let report = beside_flux(&kustomize(&[
        ("ghcr.io/acme/app", "main-7", MARKER),
        ("ghcr.io/acme/worker", "main-7-debian", MARKER),
    ]));
    let yaml = report.yaml();
    assert!(
        yaml.contains("tagTemplate: \"{tag}-debian\"") || yaml.contains("tagTemplate: '{tag}-debian'"),
        "{yaml}"
    );
    assert!(yaml.contains("configMap:") && report.diff.is_empty(), "one policy carries one tag: {yaml}");
}

#[test]
fn two_environments_are_two_sets() {
    let environment = |name: &str| {
        kustomize(&[
            ("ghcr.io/acme/app", "main-7", &MARKER.replace("app", name)),
            ("ghcr.io/acme/worker", "main-7", &MARKER.replace("app", name)),
        ])
    };
    let flux = |name: &str| FLUX.replace("name: app", &format!("name: {name}"));
    let (a, b) = (environment("staging"), environment("production"));
    let report = report(&[
        ("flux/a.yaml", &flux("staging")),
        ("flux/b.yaml", &flux("production")),
        ("staging/kustomization.yaml", &a),
        ("production/kustomization.yaml", &b),
    ]);
    let names: Vec<_> = report.proposals.iter().map(|one| one.set.metadata.name.as_str()).collect();
    assert_eq!(names, ["acme", "acme-2"]);
    assert_eq!(report.yaml().matches("---\n").count(), 2);
    assert_eq!(report.diff.matches("acme-2-release:tag").count(), 2, "{}", report.diff);
}

#[test]
fn a_running_tag_without_a_place_in_the_order_is_no_floor() {
    let report = beside_flux(&kustomize(&[
        ("ghcr.io/acme/app", "hotfix", MARKER),
        ("ghcr.io/acme/worker", "hotfix", MARKER),
    ]));
    assert!(!report.yaml().contains("notBefore"), "{}", report.yaml());
    assert!(report.proposals[0].notes.iter().any(|note| note.contains("no place in the policy's order")));
}

#[test]
fn tags_that_are_numbers_keep_their_digits() {
    let flux = FLUX.replace("^main-(?P<n>[0-9]+)$", "^(?P<n>[0-9.]+)$");
    let text = kustomize(&[("ghcr.io/acme/app", "1.10", MARKER), ("ghcr.io/acme/worker", "1.10", MARKER)]);
    let report = report(&[("flux.yaml", &flux), ("kustomization.yaml", &text)]);
    let set = manifest::read(&report.yaml()).unwrap().remove(0);
    assert_eq!(set.spec.candidates.not_before.as_deref(), Some("1.10"), "{}", report.yaml());
}

#[test]
fn what_is_there_already_is_left_out() {
    let text =
        kustomize(&[("ghcr.io/acme/app", "main-7", MARKER), ("ghcr.io/acme/worker", "main-7", MARKER)]);
    let first = beside_flux(&text);
    let changed = text.replace("flux-system:app:", "flux-system:acme-release:");
    let second =
        report(&[("flux.yaml", FLUX), ("set.yaml", &first.yaml()), ("apps/kustomization.yaml", &changed)]);
    assert!(second.proposals.is_empty() && second.problems.is_empty(), "{second:?}");
    assert_eq!(second.notes.len(), 1);
}

#[test]
fn a_policy_that_was_not_read_is_asked_for() {
    let text =
        kustomize(&[("ghcr.io/acme/app", "main-7", MARKER), ("ghcr.io/acme/worker", "main-7", MARKER)]);
    let report = report(&[("kustomization.yaml", &text)]);
    assert!(report.proposals.is_empty());
    assert!(report.problems[0].contains("markers of ImagePolicy flux-system/app"), "{report:?}");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_read() {
    let text = format!(
        "{}---\nname: {{{{ .Values.x }}}}\n  b: 1\n",
        kustomize(&[("ghcr.io/acme/app", "main-7", MARKER), ("ghcr.io/acme/worker", "main-7", MARKER)])
    );
    let report = beside_flux(&text);
    assert_eq!(report.proposals.len(), 1);
    let [Unread { name, .. }] = report.unread.as_slice() else { panic!("{report:?}") };
    assert!(name.starts_with("apps/kustomization.yaml:"), "{name}");
}

#[test]
fn a_digest_and_a_moving_tag_are_no_release() {
    let report =
        beside_flux(&kustomize(&[("ghcr.io/acme/app", "latest", ""), ("ghcr.io/acme/worker", "latest", "")]));
    assert!(report.proposals.is_empty(), "{report:?}");
    let report = beside_flux(&kustomize(&[
        ("ghcr.io/acme/app", "main-7", MARKER),
        ("ghcr.io/acme/worker", "main-7", &format!("{MARKER}\n  digest: sha256:ab")),
    ]));
    assert!(report.proposals[0].notes.iter().any(|note| note.contains("pins ghcr.io/acme/worker by digest")));
}
