//! The deadlock of the check `bootstrap`, in the files of a checkout: in a new cluster such a set is never applied, and so
//! never seen there (failure sequence 25).

use crate::cli::doctor::checks::bootstrap::readers;
use crate::cli::doctor::checks::{Whole, or_ok};
use crate::cli::doctor::facts::checkout::{Checkout, applies};
use crate::cli::doctor::finding::{Finding, Severity};

pub(super) fn examine(whole: &Whole<'_>) -> Vec<Finding> {
    let Some(checkout) = whole.checkout else {
        return vec![
            Finding::new(
                Severity::Info,
                "files were not checked for a set that is applied by what waits for it",
            )
            .because("where it is so, the set never comes to a new cluster, and can only be seen in Git")
            .next("name the Git checkout with `--path DIR`"),
        ];
    };
    let (sets, kustomizations) = (checkout.sets.len(), checkout.kustomizations.len());
    let ok =
        format!("{sets} ReleaseSets and {kustomizations} Kustomizations of files: none waits for itself");
    or_ok(of(checkout), &ok)
}

fn of(checkout: &Checkout) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, set) in &checkout.sets {
        let maps = set.spec.targets.iter().filter_map(|target| target.config_map.as_ref());
        for own in checkout.kustomizations.iter().filter(|of| applies(&of.spec, file)) {
            // Kustomize puts all it applies into targetNamespace, whatever the file says.
            let namespace = own.spec.target_namespace.as_ref().or(set.namespace.as_ref());
            let namespace = namespace.unwrap_or(&own.namespace);
            for map in maps.clone() {
                for reader in readers(own, &checkout.kustomizations, namespace, &map.name) {
                    let way = if reader.name == own.name {
                        format!("Kustomization {} applies it and reads", own.name)
                    } else {
                        format!(
                            "Kustomization {} applies it and depends on {}, which reads",
                            own.name, reader.name
                        )
                    };
                    let what = format!(
                        "{} holds ReleaseSet {}: {way} its ConfigMap {}, not optional",
                        file.display(),
                        set.name,
                        map.name
                    );
                    findings.push(
                        Finding::new(Severity::Fail, what)
                            .because("deadlock in a new cluster: the ConfigMap comes only after the set, the set only after the ConfigMap")
                            .next("apply the set by a Kustomization of its own, and let that of the apps depend on it"),
                    );
                }
            }
        }
    }
    findings
}
