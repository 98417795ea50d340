//! `verify: Blobs`: whether the config and every layer of an image are there (registry research §2, step 6).
//!
//! A manifest that is answered proves nothing of its layers: clean-up jobs take blobs too. What a HEAD saw may serve
//! other looks for a moment, never a confirming one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use http::StatusCode;

use crate::model::sighting::{DefectKind, DoubtKind};
use crate::model::{Digest, Sighting};
use crate::registry::evidence::manifest::{Image, Manifest};
use crate::registry::verdict::Absence;
use crate::registry::wire::limits::PARALLEL_MAX;
use crate::registry::wire::session::Session;
use crate::registry::wire::transport::{RequestKind, Verb};

/// Layers of one image: overlayfs mounts 127 at most with the tools of today, and four times that is no image.
const LAYERS_MAX: usize = 512;
/// Time for all blobs of one question: 512 layers, 8 at a time, at half a second each.
const BLOBS_LIMIT: Duration = Duration::from_secs(32);

// === impl Session ===

impl Session<'_> {
    /// Whether the config and every layer of each image are there now, each blob asked for once. What an image is
    /// made of may be known; nothing else is.
    pub(crate) async fn head_blobs(&self, children: &[Digest]) -> Vec<Sighting<()>> {
        let images: Vec<Result<Arc<Image>, Absence>> = stream::iter(children.to_vec())
            .map(|digest| async move { self.image_of(&digest).await })
            .buffered(PARALLEL_MAX)
            .collect()
            .await;
        let known: Vec<(&Digest, &Image)> = children
            .iter()
            .zip(&images)
            .filter_map(|(digest, image)| Some((digest, &**image.as_ref().ok()?)))
            .collect();
        let mut checked = self.check_blobs(&known, false).await;
        let answer = |(digest, image): (&Digest, Result<Arc<Image>, Absence>)| match image {
            Ok(_) => checked.remove(digest).unwrap_or(Sighting::Present(())),
            Err(absence) => absence.into(),
        };
        children.iter().zip(images).map(answer).collect()
    }

    async fn image_of(&self, digest: &Digest) -> Result<Arc<Image>, Absence> {
        let subject = self.place.digest_name(digest);
        let manifest = match self.shared.facts.manifest(self.place, digest) {
            Some(manifest) => manifest,
            None => self.read_manifest(digest.as_str(), Some(digest), &subject).await?.1,
        };
        match manifest {
            Manifest::Image(image) => Ok(image),
            Manifest::Index(_) => Err(self.corrupt(&subject, "an index was there in place of an image")),
        }
    }

    /// What is wrong with the blobs of each image; an image that is not in the answer has all of them. With
    /// `recent` a blob that was seen a moment ago is not asked for again.
    pub(crate) async fn check_blobs(
        &self,
        images: &[(&Digest, &Image)],
        recent: bool,
    ) -> BTreeMap<Digest, Sighting<()>> {
        let now = self.shared.clock.now();
        let sound = images.iter().filter(|(_, image)| misfit(image).is_none());
        let mut wanted: Vec<Digest> = sound.flat_map(|(_, image)| blobs_of(image)).cloned().collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|blob| !(recent && self.shared.blobs.is_fresh(self.place, blob, now)));
        let mut lacking: HashMap<Digest, Absence> =
            wanted.iter().map(|blob| (blob.clone(), self.too_slow())).collect();
        let mut heads = stream::iter(wanted)
            .map(|blob| async move {
                let seen = self.head_blob(&blob).await;
                (blob, seen)
            })
            .buffer_unordered(PARALLEL_MAX);
        let read_all = async {
            while let Some((blob, seen)) = heads.next().await {
                match seen {
                    Ok(()) => lacking.remove(&blob),
                    Err(absence) => lacking.insert(blob, absence),
                };
            }
        };
        // What was not answered by then stays what it is: not told.
        let _all_in_time = tokio::time::timeout(BLOBS_LIMIT, read_all).await;
        let verdict = |&(digest, image): &(&Digest, &Image)| {
            let subject = self.place.digest_name(digest);
            let wrong = match misfit(image) {
                Some(why) => Some(unsupported(&subject, why)),
                None => self.worst(image, &lacking, &subject),
            };
            wrong.map(|absence| (digest.clone(), absence.into()))
        };
        images.iter().filter_map(verdict).collect()
    }

    /// What is wrong first: a blob that is gone, else one that cannot be told.
    fn worst(&self, image: &Image, lacking: &HashMap<Digest, Absence>, named_by: &str) -> Option<Absence> {
        let mut unknown = None;
        for (blob, absence) in blobs_of(image).filter_map(|blob| Some((blob, lacking.get(blob)?))) {
            match absence {
                Absence::Missing => {
                    let kind = DefectKind::DanglingBlob(blob.clone());
                    return Some(Self::gone(kind, &self.blob_name(blob), named_by));
                }
                other => unknown = unknown.or_else(|| Some(other.clone())),
            }
        }
        unknown
    }

    /// HEAD of one blob.
    async fn head_blob(&self, digest: &Digest) -> Result<(), Absence> {
        let subject = self.blob_name(digest);
        let asked_at = self.shared.clock.now();
        let answer = self.ask(self.request(Verb::Head, RequestKind::Blob, digest.as_str()), &subject).await?;
        if answer.reply.status != StatusCode::OK {
            return Err(self.judge(&answer, &subject));
        }
        self.check_head(&answer.reply, &subject)?;
        self.shared.blobs.note(self.place, digest, asked_at);
        Ok(())
    }

    fn blob_name(&self, digest: &Digest) -> String {
        format!("the blob {digest} of {}", self.place.name())
    }

    fn too_slow(&self) -> Absence {
        Absence::unknown(
            DoubtKind::Transient,
            format!(
                "{} did not tell within {} s whether all layers of {} are there; they are asked for again at the next look",
                self.place.host(),
                BLOBS_LIMIT.as_secs(),
                self.place.name()
            ),
        )
    }
}

fn blobs_of(image: &Image) -> impl Iterator<Item = &Digest> {
    std::iter::once(&image.config).chain(&image.layers)
}

/// Why nobody could start the image, whatever the registry holds.
fn misfit(image: &Image) -> Option<&'static str> {
    if image.unreadable_layers > 0 {
        Some("names a layer by a digest that is not sha256")
    } else if image.layers.len() > LAYERS_MAX {
        Some("has more layers than any runtime mounts")
    } else {
        None
    }
}

fn unsupported(subject: &str, why: &str) -> Absence {
    Absence::broken(
        DefectKind::Unsupported,
        format!("{subject} {why}; build and push the image with a current tool"),
    )
}
