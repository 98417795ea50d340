//! The set that is audited: from files, with the Flux objects that stand beside it, or from a cluster.

use std::collections::BTreeMap;

use crate::api::manifest;
use crate::api::references::References;
use crate::api::v1alpha1::ReleaseSetSpec;
use crate::api::validate;
use crate::cli::Context;
use crate::cli::audit::args::AuditArgs;
use crate::cli::cluster::Cluster;
use crate::cli::credential_helper::DockerConfigFile;
use crate::cli::error::{CliError, Result};
use crate::cli::init;
use crate::cli::input::Input;
use crate::controller::flux::references;
use crate::engine::order::Order;
use crate::engine::policy::{ImagePolicy, Place, Policy};
use crate::flux::reader::Reader;
use crate::model::ImageName;
use crate::registry::{Access, CredentialSource as _};

/// A valid set.
pub struct Subject {
    /// `metadata.name`.
    pub name: String,
    /// What it says, with what the objects say that it refers to.
    pub policy: Policy,
    spec: ReleaseSetSpec,
    references: References,
}

// === impl Subject ===

impl Subject {
    /// Reads the set that was asked for.
    ///
    /// # Errors
    /// When there is none, it is not valid, or something that it refers to is not known.
    pub async fn read(args: &AuditArgs, context: &Context) -> Result<Self> {
        match &args.name {
            Some(name) => {
                let cluster = Cluster::connect(args.namespace.as_deref(), context.program).await?;
                let spec = cluster.get(name).await?.spec;
                let reader = Reader::new(cluster.client(), cluster.namespace());
                let read = references::read_by(&reader, cluster.namespace(), &spec).await;
                Self::new(name.clone(), spec, read.references)
            }
            None => Self::of_files(args),
        }
    }

    fn of_files(args: &AuditArgs) -> Result<Self> {
        let inputs = args.file.iter().map(|file| Input::read(file)).collect::<Result<Vec<_>>>()?;
        let mut sets = Vec::new();
        for input in &inputs {
            match manifest::read(&input.text) {
                Ok(found) => sets.extend(found),
                Err(manifest::ManifestError::NoReleaseSet(_)) if inputs.len() > 1 => {}
                Err(error) => {
                    return Err(CliError::new(format!("failed to read a ReleaseSet from {}", input.name))
                        .caused_by(&error));
                }
            }
        }
        let (Some(set), 1) = (sets.pop(), sets.len() + 1) else {
            let what = if sets.is_empty() { "no ReleaseSet" } else { "more than one ReleaseSet" };
            return Err(CliError::new(format!("there is {what} in what was read"))
                .hint("`audit` answers for one: give it one with `-f`, or its name in a cluster"));
        };
        let texts = inputs.into_iter().map(|input| (input.name, input.text));
        let (repositories, rules) = init::settings(texts, set.namespace.as_deref());
        let rule = set.spec.candidates.policy_ref.as_ref().and_then(|one| rules.get(&one.name).cloned());
        let references = References {
            image_repositories: repositories.into_iter().map(|(name, image)| (name, Ok(image))).collect(),
            policy: rule.map(Ok),
        };
        Self::new(set.name, set.spec, references)
    }

    fn new(name: String, spec: ReleaseSetSpec, references: References) -> Result<Self> {
        let policy = validate::policy_with(&spec, 0, &references).map_err(|problems| {
            let error = CliError::new(format!("{name} is not a valid ReleaseSet"));
            let error = problems.iter().fold(error, |error, problem| error.because(problem.to_string()));
            error.hint("edit the fields named above, then run this again")
        })?;
        let hint = "give the file that holds it with one more `-f`, or the set's name in its cluster";
        for image in &policy.images {
            if let Place::Untold { reference, doubt } = &image.place {
                return Err(CliError::new(format!("{reference} is not known"))
                    .because(&doubt.message)
                    .hint(hint));
            }
        }
        if let Order::Untold(doubt) = &policy.candidates.order {
            return Err(CliError::new("the order of candidates is not known")
                .because(&doubt.message)
                .hint(hint));
        }
        Ok(Self { name, policy, spec, references })
    }

    /// How each image is reached: as the set says, with the credentials of the user's docker config file.
    pub async fn access(&self, context: &Context) -> BTreeMap<ImageName, Access> {
        let source = DockerConfigFile::of(&context.environment);
        let mut access = BTreeMap::new();
        for (image, written) in self.policy.images.iter().zip(&self.spec.images) {
            let insecure = self.references.registry_access(&self.spec, written).insecure;
            let Some(repository) = image.place.repository() else { continue };
            let credentials = source.credentials(repository).await;
            access.insert(image.name.clone(), Access { credentials, insecure, ..Access::default() });
        }
        access
    }

    /// The image whose tag would have been followed.
    ///
    /// # Errors
    /// When the set has no such image, or it is advisory.
    pub fn watched(&self, name: Option<&ImageName>) -> Result<&ImagePolicy> {
        let mut required = self.policy.required_images().map(|(_, image)| image);
        let names: Vec<&str> = self.policy.required_images().map(|(_, image)| image.name.as_str()).collect();
        let found = match name {
            None => required.next(),
            Some(name) => required.find(|image| image.name == *name),
        };
        found.ok_or_else(|| {
            let name = name.map_or("", ImageName::as_str);
            CliError::new(format!("{name} is no required image of {}", self.name))
                .hint(format!("name one of {}", names.join(", ")))
        })
    }
}
