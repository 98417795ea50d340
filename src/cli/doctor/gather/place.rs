//! What is asked once for each namespace that holds sets.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{ApiResource, ListParams, PostParams};

use crate::api::ReleaseSet;
use crate::cli::cluster::Found;
use crate::cli::doctor::facts::rights::{Asked, Rule, of_hands, of_set};
use crate::cli::doctor::facts::{Controller, Installation, Place, Told};
use crate::cli::doctor::gather::installation::GUARD;
use crate::cli::doctor::gather::reading::{Reading, words};
use crate::flux::kinds::Kind;
use crate::telemetry::kube_call::call;

/// Label by which a namespace asks for the guard (ADR 7).
const GUARD_LABEL: &str = "tidegate.dev/guard";
/// Questions about rights on their way at once: one connection of HTTP/2 carries them.
const ASKED_AT_ONCE: usize = 8;
/// Most controllers that are asked about: shards of one installation.
const CONTROLLERS_MAX: usize = 8;

/// Asks for everything that `sets` of `namespace` need.
pub async fn gather(
    reading: &Reading,
    installation: &Installation,
    namespace: &str,
    sets: &[&Found],
) -> Place {
    let controllers: Vec<&Controller> = installation.controllers.found().into_iter().flatten().collect();
    let guard = async {
        let label = reading.get::<Namespace>(None, namespace).await.map(|object| {
            let labels = object.metadata.labels.unwrap_or_default();
            labels.get(GUARD_LABEL).cloned().unwrap_or_default()
        });
        let allowed = reading.get::<ConfigMap>(Some(namespace), GUARD).await.map(|map| {
            let allowed = map.data.and_then(|data| data.get("allowed").cloned()).unwrap_or_default();
            allowed.lines().filter(|line| !line.is_empty()).count()
        });
        (label, allowed)
    };
    let of_images = async {
        let own = Some(namespace);
        futures::join!(
            reading.flux(Kind::ImagePolicy, own),
            reading.flux(Kind::ImageRepository, own),
            reading.flux(Kind::ImageUpdateAutomation, own),
            reading.flux(Kind::GitRepository, own),
        )
    };
    let (guard, appliers, of_images, rights, watched) = futures::join!(
        guard,
        appliers(reading, namespace),
        of_images,
        rights(reading, namespace, sets, &controllers),
        watched(reading, namespace, &controllers),
    );
    let (kustomizations, helm_releases, is_partial) = appliers;
    let (image_policies, image_repositories, automations, sources) = of_images;
    Place {
        namespace: namespace.to_owned(),
        guard_label: guard.0,
        guard_allowed: guard.1,
        promoted_sets: sets.iter().filter(|set| set.status.promoted.is_some()).count(),
        rights,
        kustomizations,
        helm_releases,
        is_partial,
        image_policies,
        image_repositories,
        automations,
        sources,
        watched,
    }
}

type Appliers =
    Told<Vec<crate::cli::doctor::facts::flux::FluxObject<crate::cli::doctor::facts::flux::Applier>>>;

/// Of all namespaces, for a Kustomization in flux-system applies to others; else of this one.
async fn appliers(reading: &Reading, namespace: &str) -> (Appliers, Appliers, bool) {
    let all = futures::join!(reading.flux(Kind::Kustomization, None), reading.flux(Kind::HelmRelease, None));
    if let (Told::Untold(_), _) | (_, Told::Untold(_)) = all {
        let own = Some(namespace);
        let own =
            futures::join!(reading.flux(Kind::Kustomization, own), reading.flux(Kind::HelmRelease, own));
        let better = |all: Appliers, own: Appliers| if all.found().is_some() { all } else { own };
        return (better(all.0, own.0), better(all.1, own.1), true);
    }
    (all.0, all.1, false)
}

/// Which sets each controller watches, as the API server understands its selector.
async fn watched(
    reading: &Reading,
    namespace: &str,
    controllers: &[&Controller],
) -> Vec<Told<BTreeSet<String>>> {
    let resource = ApiResource::erase::<ReleaseSet>(&());
    let of = |controller: Controller| {
        let resource = &resource;
        async move {
            if !controller.covers(namespace) {
                return Told::Found(BTreeSet::new());
            }
            let params = ListParams { label_selector: controller.selector.clone(), ..ListParams::default() };
            let listed = reading.list_of(resource, Some(namespace), params).await;
            listed.map(|sets| sets.into_iter().filter_map(|set| set.metadata.name).collect())
        }
    };
    let controllers: Vec<Controller> =
        controllers.iter().take(CONTROLLERS_MAX).map(|controller| (*controller).clone()).collect();
    stream::iter(controllers).map(of).buffered(ASKED_AT_ONCE).collect().await
}

/// Each question once, whatever number of sets need the answer.
async fn rights(
    reading: &Reading,
    namespace: &str,
    sets: &[&Found],
    controllers: &[&Controller],
) -> BTreeMap<(Asked, Rule), Told<bool>> {
    let mut questions: BTreeSet<(Asked, Rule)> =
        of_hands().into_iter().map(|rule| (Asked::Me, rule)).collect();
    let needed: BTreeSet<Rule> = sets.iter().flat_map(|set| of_set(&set.spec)).collect();
    for controller in controllers.iter().take(CONTROLLERS_MAX).filter(|of| of.covers(namespace)) {
        let asked = Asked::User { name: controller.user(), namespace: controller.namespace.clone() };
        questions.extend(needed.iter().map(|rule| (asked.clone(), rule.clone())));
    }
    let ask = |(asked, rule): (Asked, Rule)| async move {
        let answer = may(reading, namespace, &asked, &rule).await;
        ((asked, rule), answer)
    };
    stream::iter(questions).map(ask).buffer_unordered(ASKED_AT_ONCE).collect().await
}

async fn may(reading: &Reading, namespace: &str, asked: &Asked, rule: &Rule) -> Told<bool> {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let attributes = ResourceAttributes {
        group: Some(rule.group.to_owned()),
        resource: some(rule.resource),
        subresource: some(rule.subresource),
        verb: some(rule.verb),
        name: some(&rule.name),
        namespace: some(namespace),
        ..ResourceAttributes::default()
    };
    let (params, client) = (PostParams::default(), reading.client());
    let (answer, resource) = match asked {
        Asked::Me => {
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let answer = call(Api::all(client).create(&params, &review)).await;
            (answer.map(|review| review.status), ApiResource::erase::<SelfSubjectAccessReview>(&()))
        }
        Asked::User { name, namespace } => {
            let groups = [
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ];
            let spec = SubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                user: Some(name.clone()),
                groups: Some(groups.to_vec()),
                ..SubjectAccessReviewSpec::default()
            };
            let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
            let answer = call(Api::all(client).create(&params, &review)).await;
            (answer.map(|review| review.status), ApiResource::erase::<SubjectAccessReview>(&()))
        }
    };
    match answer {
        Ok(Some(SubjectAccessReviewStatus { allowed, .. })) => Told::Found(allowed),
        Ok(None) => Told::Untold("the API server did not say".to_owned()),
        Err(error) => Told::Untold(words(&resource, &error).replace("read it", "ask about rights")),
    }
}
