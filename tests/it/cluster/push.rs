//! Pushes, retags and deletes over plain HTTP, to any registry that follows the distribution spec.

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use tidegate::embedded::image::{Content, Image, Index};
use url::Url;

/// Accepted when a manifest is read to be tagged again: whatever kind it is, its bytes are kept.
const ANY_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// What a build pipeline does to a registry.
#[derive(Clone, Debug)]
pub struct Pusher {
    registry: Url,
    client: Client,
    login: Option<(String, String)>,
}

// === impl Pusher ===

impl Pusher {
    /// Pushes to the registry at `url`, for example `http://127.0.0.1:5000/`.
    pub fn new(url: &Url) -> Self {
        super::install_crypto();
        Self { registry: url.clone(), client: Client::new(), login: None }
    }

    /// Pushes as that user, by Basic.
    #[must_use]
    pub fn login(self, username: &str, password: &str) -> Self {
        Self { login: Some((username.to_owned(), password.to_owned())), ..self }
    }

    /// Pushes an image of one platform, tagged when `tag` is given and by digest alone otherwise. Answers its digest.
    pub async fn image(&self, repository: &str, tag: Option<&str>, image: &Image) -> String {
        self.blob(repository, &image.layer).await;
        self.blob(repository, &image.config).await;
        self.manifest(repository, tag.unwrap_or(&image.manifest.digest), &image.manifest).await
    }

    /// Pushes the children of an index by digest, then the index as `tag`. Answers the digest of the index.
    pub async fn index(&self, repository: &str, tag: &str, index: &Index) -> String {
        for image in &index.images {
            self.image(repository, None, image).await;
        }
        self.manifest(repository, tag, &index.manifest).await
    }

    /// Puts a manifest as it is, under a tag or its digest. Answers its digest.
    pub async fn manifest(&self, repository: &str, reference: &str, manifest: &Content) -> String {
        let request = self
            .request(Method::PUT, &format!("{repository}/manifests/{reference}"))
            .header("content-type", manifest.media_type)
            .body(manifest.bytes.clone());
        let reply = expect(request, &[StatusCode::CREATED]).await;
        let digest = header(&reply, "docker-content-digest");
        assert_eq!(digest, manifest.digest, "the registry stored something else");
        digest
    }

    /// Makes `to` name what `from` (a tag or digest) names now: the same bytes. Answers the digest.
    pub async fn retag(&self, repository: &str, from: &str, to: &str) -> String {
        let read = self
            .request(Method::GET, &format!("{repository}/manifests/{from}"))
            .header("accept", ANY_MANIFEST);
        let reply = expect(read, &[StatusCode::OK]).await;
        let media_type = header(&reply, "content-type");
        let bytes = reply.bytes().await.expect("the manifest is read whole");
        let write = self
            .request(Method::PUT, &format!("{repository}/manifests/{to}"))
            .header("content-type", media_type)
            .body(bytes);
        header(&expect(write, &[StatusCode::CREATED]).await, "docker-content-digest")
    }

    /// Deletes a manifest by digest, and with it every tag that names it.
    pub async fn delete(&self, repository: &str, digest: &str) {
        let request = self.request(Method::DELETE, &format!("{repository}/manifests/{digest}"));
        expect(request, &[StatusCode::ACCEPTED]).await;
    }

    /// Deletes a blob; manifests that name it stay.
    pub async fn delete_blob(&self, repository: &str, digest: &str) {
        let request = self.request(Method::DELETE, &format!("{repository}/blobs/{digest}"));
        expect(request, &[StatusCode::ACCEPTED]).await;
    }

    /// Uploads a blob unless it is there: POST for a place, then PUT of the whole.
    async fn blob(&self, repository: &str, blob: &Content) {
        let head = self.request(Method::HEAD, &format!("{repository}/blobs/{}", blob.digest));
        if expect(head, &[StatusCode::OK, StatusCode::NOT_FOUND]).await.status() == StatusCode::OK {
            return;
        }
        let ask =
            self.request(Method::POST, &format!("{repository}/blobs/uploads/")).header("content-length", "0");
        let accepted = expect(ask, &[StatusCode::ACCEPTED]).await;
        let mut place = accepted.url().join(&header(&accepted, "location")).expect("Location is a URL");
        place.query_pairs_mut().append_pair("digest", &blob.digest);
        let upload = self
            .authorised(self.client.put(place))
            .header("content-type", "application/octet-stream")
            .body(blob.bytes.clone());
        expect(upload, &[StatusCode::CREATED]).await;
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.registry.join(&format!("v2/{path}")).expect("repository and reference form a path");
        self.authorised(self.client.request(method, url))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.login {
            Some((username, password)) => request.basic_auth(username, Some(password)),
            None => request,
        }
    }
}

/// Sends, and fails with the registry's own words when it answers anything else.
async fn expect(request: RequestBuilder, wanted: &[StatusCode]) -> Response {
    let reply = request.send().await.expect("the registry answers");
    if wanted.contains(&reply.status()) {
        return reply;
    }
    let (status, url) = (reply.status(), reply.url().clone());
    panic!("the registry answered {status} to {url}: {}", reply.text().await.unwrap_or_default());
}

fn header(reply: &Response, name: &str) -> String {
    let value =
        reply.headers().get(name).unwrap_or_else(|| panic!("{} answered without {name}", reply.url()));
    value.to_str().expect("the header is text").to_owned()
}
