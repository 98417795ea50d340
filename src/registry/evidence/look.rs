//! One look at one tag (registry research §2): the index, each asked platform's child, its config.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;

use crate::model::sighting::DefectKind;
use crate::model::{Digest, ImageEvidence, Platform, Revision, Sighting, Verify};
use crate::registry::evidence::facts::Fact;
use crate::registry::evidence::manifest::{self, Config, Image, Manifest, Texts};
use crate::registry::evidence::walk::{Found, Walk};
use crate::registry::verdict::{Absence, sighting};
use crate::registry::wire::limits::PARALLEL_MAX;
use crate::registry::wire::session::Session;
use crate::registry::{Built, Depth, Question};

/// One child that was looked at.
struct Seen {
    /// The platform that it stands for.
    platform: Platform,
    child: Sighting<Digest>,
    /// What its manifest holds, if that could be read.
    image: Option<Arc<Image>>,
    /// What its config holds, if that was read.
    config: Option<Arc<Config>>,
}

/// What a tag holds.
pub(crate) async fn look(session: Session<'_>, question: &Question) -> Sighting<ImageEvidence> {
    sighting(session.look(question).await)
}

/// When the build made what a tag holds.
pub(crate) async fn built(session: Session<'_>, question: &Question) -> Sighting<Built> {
    sighting(session.built(question).await)
}

// === impl Session ===

impl Session<'_> {
    async fn built(&self, question: &Question) -> Result<Built, Absence> {
        let (_, seen, _) = self.seen(question).await?;
        let mut platforms = BTreeMap::new();
        for Seen { platform, child, config, .. } in seen {
            let created = config.and_then(|config| config.created);
            platforms.entry(platform).or_insert(child.map(|_| created));
        }
        Ok(Built { platforms })
    }

    /// What the tag points at, its children, and the annotations of its index.
    async fn seen(&self, question: &Question) -> Result<(Digest, Vec<Seen>, Texts), Absence> {
        let (digest, manifest) = self.root(question).await?;
        let (seen, annotations) = match manifest {
            Manifest::Image(image) => (self.single(question, &digest, image).await, Texts::new()),
            Manifest::Index(index) => {
                let subject = self.place.digest_name(&digest);
                let walk = self.walk(question, &digest, Arc::clone(&index), &subject).await?;
                (self.cells(question, walk, &subject).await, index.annotations.clone())
            }
        };
        Ok((digest, seen, annotations))
    }

    async fn look(&self, question: &Question) -> Result<ImageEvidence, Absence> {
        let (digest, mut seen, annotations) = self.seen(question).await?;
        if question.verify == Verify::Blobs {
            self.look_at_blobs(&mut seen).await;
        }
        let revisions = revisions(&question.revision_keys, &annotations, &seen);
        let mut cells = BTreeMap::new();
        for Seen { platform, child, .. } in seen {
            cells.entry(platform).or_insert(child);
        }
        Ok(ImageEvidence { digest, children: cells, revisions })
    }

    /// Takes back what is not there in whole: a child is Present only with its config and all its layers.
    async fn look_at_blobs(&self, seen: &mut [Seen]) {
        let images: Vec<(&Digest, &Image)> =
            seen.iter().filter_map(|seen| Some((seen.child.present()?, &**seen.image.as_ref()?))).collect();
        let mut wrong = self.check_blobs(&images, true).await;
        for seen in seen {
            let Some(digest) = seen.child.present() else { continue };
            match wrong.remove(digest) {
                Some(Sighting::Broken(defect)) => seen.child = Sighting::Broken(defect),
                Some(Sighting::Unknown(doubt)) => seen.child = Sighting::Unknown(doubt),
                Some(Sighting::Present(()) | Sighting::Missing) | None => {}
            }
        }
    }

    /// What the tag points at. A tag that was read before is asked by HEAD, as it mostly points at the same;
    /// Docker Hub too, where a GET counts against the pull limit and a HEAD does not.
    async fn root(&self, question: &Question) -> Result<(Digest, Manifest), Absence> {
        let facts = &self.shared.facts;
        let tag = &question.tag;
        let subject = self.place.tag_name(tag);
        let was =
            facts.pointer(self.place, tag).filter(|digest| facts.manifest(self.place, digest).is_some());
        if was.is_some() || self.place.is_docker_hub() {
            let digest = self.head(tag.as_str(), &subject).await?;
            if let Some(manifest) = facts.manifest(self.place, &digest) {
                facts.put(self.place, tag.as_str(), Fact::Pointer(digest.clone()));
                return Ok((digest, manifest));
            }
        }
        let (digest, manifest) = self.read_manifest(tag.as_str(), None, &subject).await?;
        facts.put(self.place, tag.as_str(), Fact::Pointer(digest.clone()));
        Ok((digest, manifest))
    }

    /// A manifest by digest that surely exists now: what it holds may be known, that it is there is asked.
    pub(crate) async fn manifest(&self, digest: &Digest, named_by: &str) -> Result<Manifest, Absence> {
        let subject = self.place.digest_name(digest);
        let result = match self.shared.facts.manifest(self.place, digest) {
            None => self
                .read_manifest(digest.as_str(), Some(digest), &subject)
                .await
                .map(|(_, manifest)| manifest),
            Some(manifest) => match self.head(digest.as_str(), &subject).await {
                Ok(named) if named != *digest => {
                    Err(self.corrupt(&subject, "the registry names another digest for it"))
                }
                other => other.map(|_| manifest),
            },
        };
        result.map_err(|absence| match absence {
            Absence::Missing => Self::gone(DefectKind::DanglingChild(digest.clone()), &subject, named_by),
            other => other,
        })
    }

    pub(crate) async fn read_manifest(
        &self,
        reference: &str,
        expected: Option<&Digest>,
        subject: &str,
    ) -> Result<(Digest, Manifest), Absence> {
        let fetched = self.get_manifest(reference, expected, subject).await?;
        let manifest = manifest::parse(&fetched.bytes, &fetched.content_type, subject)?;
        let fact = match &manifest {
            Manifest::Index(index) => Fact::Index(Arc::clone(index)),
            Manifest::Image(image) => Fact::Image(Arc::clone(image)),
        };
        self.shared.facts.put(self.place, fetched.digest.as_str(), fact);
        Ok((fetched.digest, manifest))
    }

    /// The config of the image `of`. What was read once is not asked again, not even whether it is there:
    /// `verify: Blobs` is for that.
    pub(crate) async fn config(&self, image: &Image, of: &str) -> Result<Arc<Config>, Absence> {
        if let Some(config) = self.shared.facts.config(self.place, &image.config) {
            return Ok(config);
        }
        let subject = format!("the config {} of {of}", image.config);
        let asked_at = self.shared.clock.now();
        let bytes = self.get_blob(&image.config, &subject).await.map_err(|absence| match absence {
            Absence::Missing => Self::gone(DefectKind::DanglingBlob(image.config.clone()), &subject, of),
            other => other,
        })?;
        let config = Arc::new(manifest::parse_config(&bytes, of)?);
        self.shared.facts.put(self.place, image.config.as_str(), Fact::Config(Arc::clone(&config)));
        self.shared.blobs.note(self.place, &image.config, asked_at);
        Ok(config)
    }

    /// A tag that points at one image: its platform is what its config says, never what was hoped for.
    async fn single(&self, question: &Question, digest: &Digest, image: Arc<Image>) -> Vec<Seen> {
        let subject = self.place.tag_name(&question.tag);
        let config = self.config(&image, &subject).await;
        let platform = config.as_ref().map(|config| config.platform.normal());
        match (config.clone(), platform) {
            (Ok(config), Ok(Some(platform))) => {
                vec![Seen {
                    platform,
                    child: Sighting::Present(digest.clone()),
                    image: Some(image),
                    config: Some(config),
                }]
            }
            (other, _) => {
                let absence = other.err().unwrap_or_else(|| no_platform(&subject));
                let cell = |platform: &Platform| Seen {
                    platform: platform.clone(),
                    child: absence.clone().into(),
                    image: Some(Arc::clone(&image)),
                    config: None,
                };
                question.platforms.iter().map(cell).collect()
            }
        }
    }

    /// Looks at each child that the walk found, in parallel.
    async fn cells(&self, question: &Question, walk: Walk, index: &str) -> Vec<Seen> {
        let Walk { found, wanted, unresolved, .. } = walk;
        let mut seen: Vec<Seen> = stream::iter(found)
            .map(|(platform, found)| self.cell(question.depth, platform, found, index))
            .buffered(PARALLEL_MAX)
            .collect()
            .await;
        if let Some(absence) = unresolved {
            seen.extend(wanted.into_iter().map(|platform| Seen {
                platform,
                child: absence.clone().into(),
                image: None,
                config: None,
            }));
        }
        seen
    }

    async fn cell(&self, depth: Depth, platform: Platform, found: Found, index: &str) -> Seen {
        let digest = match found {
            Found::Named(digest) => digest,
            Found::Read(digest, image, config) => {
                return Seen {
                    platform,
                    child: Sighting::Present(digest),
                    image: Some(image),
                    config: Some(config),
                };
            }
            Found::Unsupported(why) => {
                let message =
                    format!("in {index} its {platform} image is {why}; push it again with a current tool");
                let child = Absence::broken(DefectKind::Unsupported, message).into();
                return Seen { platform, child, image: None, config: None };
            }
        };
        let named_by = format!("the {platform} entry of {index}");
        let image = match self.manifest(&digest, &named_by).await {
            Ok(Manifest::Image(image)) => image,
            Ok(Manifest::Index(_)) => {
                let child = self.corrupt(&named_by, "it calls an index an image manifest").into();
                return Seen { platform, child, image: None, config: None };
            }
            Err(absence) => return Seen { platform, child: absence.into(), image: None, config: None },
        };
        if depth == Depth::Manifests {
            return Seen { platform, child: Sighting::Present(digest), image: Some(image), config: None };
        }
        let subject = self.place.digest_name(&digest);
        match self.config(&image, &subject).await {
            Ok(config) => {
                let child = match mislabelled(&platform, &config, &subject) {
                    Some(absence) => absence.into(),
                    None => Sighting::Present(digest),
                };
                Seen { platform, child, image: Some(image), config: Some(config) }
            }
            Err(absence) => Seen { platform, child: absence.into(), image: Some(image), config: None },
        }
    }
}

/// The config's own platform against what the index promised. Older builders leave out variant and Windows
/// build; what the config does not say cannot contradict.
fn mislabelled(promised: &Platform, config: &Config, subject: &str) -> Option<Absence> {
    let mut raw = config.platform.clone();
    if raw.variant.is_empty() {
        promised.variant().unwrap_or_default().clone_into(&mut raw.variant);
    }
    let Some(own) = raw.normal() else { return Some(no_platform(subject)) };
    let same = own.os() == promised.os()
        && own.architecture() == promised.architecture()
        && own.variant() == promised.variant()
        // Windows starts an image of its own build only; an entry or config that names none fits any.
        && (own.os_version().is_none() || promised.os_version().is_none() || own.os_version() == promised.os_version());
    (!same).then(|| {
        Absence::broken(
            DefectKind::PlatformMismatch,
            format!("{subject} is listed as {promised} but was built for {own}; correct the build that pushes the index"),
        )
    })
}

fn no_platform(subject: &str) -> Absence {
    Absence::broken(
        DefectKind::PlatformMismatch,
        format!(
            "the config of {subject} names no platform; build the image with a tool that writes os and architecture"
        ),
    )
}

/// The values of `keys`, by where they were found. Children that do not say are not counted against those that
/// do; children that disagree give one text that names all values.
fn revisions(keys: &[String], index: &Texts, seen: &[Seen]) -> BTreeMap<String, Revision> {
    let agreed = |values: BTreeSet<&String>| {
        let all: Vec<&str> = values.into_iter().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join(" and "))
    };
    let revision = |key: &String| {
        let images = seen.iter().filter_map(|seen| seen.image.as_ref());
        let configs = seen.iter().filter_map(|seen| seen.config.as_ref());
        let annotation = index
            .get(key)
            .cloned()
            .or_else(|| agreed(images.filter_map(|image| image.annotations.get(key)).collect()));
        Revision { annotation, label: agreed(configs.filter_map(|config| config.labels.get(key)).collect()) }
    };
    keys.iter().map(|key| (key.clone(), revision(key))).collect()
}
