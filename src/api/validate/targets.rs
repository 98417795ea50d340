//! `spec.targets` as values.

use std::collections::BTreeMap;

use super::Reader;
use crate::api::rules;
use crate::api::v1alpha1::{RolledOutBy, RolledOutByKind, Target, TargetConfigMap, TargetImagePolicy};
use crate::engine::policy::TargetPolicy;
use crate::model::target::{FluxKind, ROLLED_OUT_BY_MAX};
use crate::model::{FluxObject, KeyTemplate, TargetKind, TargetName};

/// Longest key of a ConfigMap.
const KEY_MAX_BYTES: usize = 253;

// === impl Reader ===

impl Reader {
    pub(super) fn target(&mut self, field: &str, target: &Target) -> Option<TargetPolicy> {
        let name = self.parse(&format!("{field}.name"), &target.name);
        let kind = match (&target.config_map, &target.image_policy, &target.resource_set_input_provider) {
            (Some(config_map), None, None) => self.config_map(&format!("{field}.configMap"), config_map),
            (None, Some(policy), None) => self.image_policy(&format!("{field}.imagePolicy"), policy),
            (None, None, Some(provider)) => self
                .object_name(&format!("{field}.resourceSetInputProvider.name"), &provider.name)
                .map(|name| TargetKind::ResourceSetInputProvider { name }),
            _ => self.fail(field, rules::TARGET_ONE.message),
        };
        Some(TargetPolicy { name: name?, kind: kind? })
    }

    fn config_map(&mut self, field: &str, config_map: &TargetConfigMap) -> Option<TargetKind> {
        let name = self.object_name(&format!("{field}.name"), &config_map.name);
        let keys: Vec<Option<(String, KeyTemplate)>> = config_map
            .keys
            .iter()
            .map(|(key, text)| self.key(&format!("{field}.keys[{key}]"), key, text))
            .collect();
        let keys: Option<BTreeMap<String, KeyTemplate>> = keys.into_iter().collect();
        Some(TargetKind::ConfigMap { name: name?, keys: keys? })
    }

    fn key(&mut self, field: &str, key: &str, text: &str) -> Option<(String, KeyTemplate)> {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if key.is_empty() || key.len() > KEY_MAX_BYTES || !key.bytes().all(sound) {
            return self.fail(field, rules::KEYS.message);
        }
        match text.parse() {
            Ok(template) => Some((key.to_owned(), template)),
            Err(error) => self.fail(field, crate::model::key_template::NotAKeyTemplate::to_string(&error)),
        }
    }

    fn image_policy(&mut self, field: &str, policy: &TargetImagePolicy) -> Option<TargetKind> {
        // An ImagePolicy's name is 63 bytes at most (failure sequence 23); the label's rule says so.
        let name: Option<TargetName> = self.parse(&format!("{field}.name"), &policy.name);
        let image_repository =
            self.object_name(&format!("{field}.imageRepositoryRef.name"), &policy.image_repository_ref.name);
        let automation = policy.image_update_automation_ref.as_ref().map(|reference| {
            self.object_name(&format!("{field}.imageUpdateAutomationRef.name"), &reference.name)
        });
        self.at_most(&format!("{field}.rolledOutBy"), policy.rolled_out_by.len(), ROLLED_OUT_BY_MAX)?;
        let rolled_out_by =
            self.each(&format!("{field}.rolledOutBy"), &policy.rolled_out_by, Self::rolled_out_by);
        Some(TargetKind::ImagePolicy {
            name: name?.as_str().to_owned(),
            image_repository: image_repository?,
            image_update_automation: automation.map_or(Some(None), |name| name.map(Some))?,
            rolled_out_by: rolled_out_by?,
        })
    }

    fn rolled_out_by(&mut self, field: &str, object: &RolledOutBy) -> Option<FluxObject> {
        let kind = match object.kind {
            RolledOutByKind::Kustomization => FluxKind::Kustomization,
            RolledOutByKind::HelmRelease => FluxKind::HelmRelease,
        };
        Some(FluxObject { kind, name: self.object_name(&format!("{field}.name"), &object.name)? })
    }
}
