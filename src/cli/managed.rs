//! Who set a field, read from `metadata.managedFields`: what of a person's hands Flux leaves alone (failure sequence 11).
//!
//! kustomize-controller applies what Git holds, so that its fields win at every sync; and it first drops the fields of
//! managers that it takes for a person's `kubectl`. What any other manager set stays. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use serde_json::{Map, Value, json};

use crate::cli::cluster::FIELD_MANAGER;

/// Label that kustomize-controller puts on everything that it applies.
const KUSTOMIZATION_LABEL: &str = "kustomize.toolkit.fluxcd.io/name";
/// Managers that apply files by other means than server-side apply.
const APPLIERS: [&str; 4] = ["helm", "argocd", "kapp", "terraform"];
/// Path of the spec in managed fields.
const SPEC: &str = "f:spec";

/// A field of the spec that people steer a set by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `spec.suspend`.
    Suspend,
    /// `spec.pin`.
    Pin,
    /// `spec.skip`, a list of which each entry has a manager of its own.
    Skip,
}

/// What becomes of a field at the next sync of kustomize-controller, by the manager that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The commands of this program: left alone as long as Git omits the field.
    Hands,
    /// A manager whose fields kustomize-controller drops, for example `kubectl-patch`.
    Dropped(String),
    /// A manager that applies what Git holds, for example `kustomize-controller`: its value comes back.
    Applied(String),
    /// Any other manager, for example a dashboard: left alone, until that one writes again.
    Other(String),
}

/// Who keeps `field`; with `value`, that entry of its list. Nobody when it is not set.
pub fn keepers(metadata: &ObjectMeta, field: Field, value: Option<&str>) -> Vec<Keeper> {
    let entries = metadata.managed_fields.iter().flatten();
    let of_spec = entries.filter(|entry| entry.subresource.as_deref().is_none_or(str::is_empty));
    of_spec.filter(|entry| holds(entry, field, value)).map(Keeper::of).collect()
}

/// The manager that puts `field` back at its next sync, if there is one.
pub fn applied_by(metadata: &ObjectMeta, field: Field, value: Option<&str>) -> Option<String> {
    keepers(metadata, field, value).into_iter().find_map(|keeper| match keeper {
        Keeper::Applied(manager) => Some(manager),
        Keeper::Hands | Keeper::Dropped(_) | Keeper::Other(_) => None,
    })
}

/// Name of the Kustomization that applies the object, if one does.
pub fn kustomization(metadata: &ObjectMeta) -> Option<&str> {
    metadata.labels.as_ref()?.get(KUSTOMIZATION_LABEL).map(String::as_str)
}

/// The managed fields with `field` in our name instead of that of managers whose fields are dropped. A patch that sets
/// the value that is there already changes no manager, so the managers are what it must change. `None` when there is
/// nothing to take over.
pub fn taken_over(metadata: &ObjectMeta, field: Field) -> Option<Vec<ManagedFieldsEntry>> {
    let is_dropped = |entry: &ManagedFieldsEntry| matches!(Keeper::of(entry), Keeper::Dropped(_));
    let all = metadata.managed_fields.clone().unwrap_or_default();
    let wanted = |entry: &ManagedFieldsEntry| {
        entry.subresource.as_deref().is_none_or(str::is_empty) && holds(entry, field, None)
    };
    let from = all.iter().find(|entry| is_dropped(entry) && wanted(entry))?.clone();
    let mut leaf = json!({});
    for entry in all.iter().filter(|entry| is_dropped(entry) && wanted(entry)) {
        merge(&mut leaf, self::leaf(entry, field)?);
    }
    let mut kept = Vec::new();
    for mut entry in all {
        if is_dropped(&entry)
            && wanted(&entry)
            && let Some(FieldsV1(fields)) = &mut entry.fields_v1
        {
            remove(fields, field);
            if fields.as_object().is_none_or(Map::is_empty) {
                continue;
            }
        }
        kept.push(entry);
    }
    let ours = kept.iter_mut().find(|entry| Keeper::of(entry) == Keeper::Hands && is_update(entry));
    if let Some(FieldsV1(fields)) = ours.and_then(|entry| entry.fields_v1.as_mut()) {
        insert(fields, field, &leaf);
    } else {
        kept.push(ManagedFieldsEntry {
            manager: Some(FIELD_MANAGER.to_owned()),
            operation: Some("Update".to_owned()),
            fields_v1: Some(FieldsV1(json!({SPEC: {field.path(): leaf}}))),
            ..from
        });
    }
    Some(kept)
}

fn is_update(entry: &ManagedFieldsEntry) -> bool {
    entry.operation.as_deref() == Some("Update") && entry.subresource.as_deref().is_none_or(str::is_empty)
}

fn leaf(entry: &ManagedFieldsEntry, field: Field) -> Option<&Value> {
    entry.fields_v1.as_ref()?.0.get(SPEC)?.get(field.path())
}

fn holds(entry: &ManagedFieldsEntry, field: Field, value: Option<&str>) -> bool {
    let Some(leaf) = leaf(entry, field) else { return false };
    // Entries of a list that is a set: `v:` and the value as JSON.
    value.is_none_or(|value| leaf.get(format!("v:{}", Value::from(value))).is_some())
}

fn remove(fields: &mut Value, field: Field) {
    let Some(spec) = fields.get_mut(SPEC).and_then(Value::as_object_mut) else { return };
    spec.remove(field.path());
    let is_empty = spec.is_empty();
    if is_empty && let Some(fields) = fields.as_object_mut() {
        fields.remove(SPEC);
    }
}

fn insert(fields: &mut Value, field: Field, leaf: &Value) {
    let Some(fields) = fields.as_object_mut() else { return };
    let spec = fields.entry(SPEC).or_insert_with(|| json!({}));
    if let Some(spec) = spec.as_object_mut() {
        merge(spec.entry(field.path()).or_insert_with(|| json!({})), leaf);
    }
}

fn merge(into: &mut Value, leaf: &Value) {
    if let (Some(into), Some(leaf)) = (into.as_object_mut(), leaf.as_object()) {
        into.extend(leaf.clone());
    }
}

// === impl Field ===

impl Field {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Suspend => "spec.suspend",
            Self::Pin => "spec.pin",
            Self::Skip => "spec.skip",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Suspend => "f:suspend",
            Self::Pin => "f:pin",
            Self::Skip => "f:skip",
        }
    }
}

// === impl Keeper ===

impl Keeper {
    /// By the rule of kustomize-controller (fluxcd/pkg ssa, PatchReplaceFieldsManagers, as the controller calls it).
    fn of(entry: &ManagedFieldsEntry) -> Self {
        let manager = entry.manager.clone().unwrap_or_default();
        if manager == FIELD_MANAGER {
            Self::Hands
        } else if manager.starts_with("kubectl")
            || (is_update(entry)
                && (manager.starts_with("before-first-apply") || manager.starts_with("kustomize-controller")))
        {
            Self::Dropped(manager)
        } else if entry.operation.as_deref() == Some("Apply")
            || APPLIERS.iter().any(|applier| manager.to_ascii_lowercase().starts_with(applier))
        {
            Self::Applied(manager)
        } else {
            Self::Other(manager)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(entries: &Value) -> ObjectMeta {
        serde_json::from_value(json!({"managedFields": entries})).unwrap()
    }

    fn entry(manager: &str, operation: &str, spec: &Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "tidegate.dev/v1alpha1",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": spec}})
    }

    #[test]
    fn managers_are_told_apart_as_kustomize_controller_does() {
        let pin = json!({"f:pin": {}});
        for (manager, operation, keeper) in [
            ("tidegate-cli", "Update", Keeper::Hands),
            ("kubectl-patch", "Update", Keeper::Dropped("kubectl-patch".into())),
            ("kubectl", "Apply", Keeper::Dropped("kubectl".into())),
            ("before-first-apply", "Update", Keeper::Dropped("before-first-apply".into())),
            ("kustomize-controller", "Update", Keeper::Dropped("kustomize-controller".into())),
            ("kustomize-controller", "Apply", Keeper::Applied("kustomize-controller".into())),
            ("argocd-controller", "Apply", Keeper::Applied("argocd-controller".into())),
            ("helm-controller", "Update", Keeper::Applied("helm-controller".into())),
            ("headlamp", "Update", Keeper::Other("headlamp".into())),
        ] {
            let metadata = metadata(&json!([entry(manager, operation, &pin)]));
            assert_eq!(keepers(&metadata, Field::Pin, None), [keeper], "{manager} {operation}");
            assert_eq!(keepers(&metadata, Field::Suspend, None), []);
        }
    }

    #[test]
    fn entries_of_a_list_have_managers_of_their_own() {
        let metadata = metadata(&json!([
            entry("kustomize-controller", "Apply", &json!({"f:skip": {".": {}, "v:\"v1\"": {}}})),
            entry("tidegate-cli", "Update", &json!({"f:skip": {"v:\"v2\"": {}}})),
        ]));
        assert_eq!(applied_by(&metadata, Field::Skip, Some("v1")).as_deref(), Some("kustomize-controller"));
        assert_eq!(applied_by(&metadata, Field::Skip, Some("v2")), None);
        assert_eq!(keepers(&metadata, Field::Skip, Some("v2")), [Keeper::Hands]);
    }

    #[test]
    fn the_status_is_nobodys_spec() {
        let mut status = entry("tidegate", "Update", &json!({"f:pin": {}}));
        status["subresource"] = "status".into();
        assert_eq!(keepers(&metadata(&json!([status])), Field::Pin, None), []);
    }

    #[test]
    fn what_kubectl_set_can_be_taken_over() {
        let before = metadata(&json!([
            entry("kubectl-patch", "Update", &json!({"f:suspend": {}, "f:pin": {}})),
            entry("kubectl-edit", "Update", &json!({"f:suspend": {}})),
            entry("kustomize-controller", "Apply", &json!({"f:images": {}})),
        ]));
        let after = taken_over(&before, Field::Suspend).unwrap();
        let after = ObjectMeta { managed_fields: Some(after), ..ObjectMeta::default() };
        assert_eq!(keepers(&after, Field::Suspend, None), [Keeper::Hands]);
        assert_eq!(keepers(&after, Field::Pin, None), [Keeper::Dropped("kubectl-patch".into())]);
        assert_eq!(after.managed_fields.as_ref().map(Vec::len), Some(3));
        assert_eq!(taken_over(&after, Field::Suspend), None);
        let both = taken_over(&after, Field::Pin).unwrap();
        let ours = both.iter().find(|entry| entry.manager.as_deref() == Some("tidegate-cli")).unwrap();
        let fields = ours.fields_v1.clone().unwrap().0;
        assert_eq!(fields, json!({"f:spec": {"f:pin": {}, "f:suspend": {}}}));
    }
}
