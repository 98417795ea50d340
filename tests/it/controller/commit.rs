//! The guard of the commit on a real API server (S4): only a write that derives from the last read is taken, and none takes a
//! promoted release back.

use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tidegate::api::ReleaseSet;

use super::real::Real;

const SUITE: &str = "commit guard";
const SET: &str = "acme";

/// What a write changes in the live status.
type Change = fn(&mut Value);

/// How `PUT …/status` was answered: 200, or the refusal's code and words.
async fn put(sets: &Api<DynamicObject>, set: &DynamicObject) -> (u16, String) {
    match sets.replace_status(SET, &PostParams::default(), set).await {
        Ok(_) => (200, String::new()),
        Err(kube::Error::Api(status)) => (status.code, status.message),
        Err(error) => panic!("no answer: {error:?}"),
    }
}

#[tokio::test]
async fn only_a_write_from_the_last_read_is_taken_and_none_goes_back() {
    let Some(real) = Real::start(SUITE).await else { return };
    let resource = ApiResource::erase::<ReleaseSet>(&());
    let sets: Api<DynamicObject> = Api::namespaced_with(real.client.clone(), &real.namespace, &resource);
    real.push_both("main-1").await;
    real.create(SET, real.spec("acme-release")).await;
    real.wait_for(SET, "Ready", "True/Succeeded", "main-1").await;
    let stale = sets.get(SET).await.unwrap();
    real.push_both("main-2").await;
    real.ask(SET).await;
    real.wait_for(SET, "Ready", "True/Succeeded", "main-2 is promoted (sequence 2)").await;

    let live = sets.get(SET).await.unwrap();
    let mut unread = live.clone();
    unread.metadata.resource_version = None;
    let mut other = live.clone();
    other.metadata.uid = Some("00000000-0000-0000-0000-000000000000".to_owned());
    for (what, set, code) in
        [("stale", stale, 409), ("without a read", unread, 422), ("other uid", other, 409)]
    {
        let (answered, words) = put(&sets, &set).await;
        assert_eq!(answered, code, "{what}: {words}");
    }
    let back: [(&str, Change); 4] = [
        ("a lower sequence", |status| status["promoted"]["sequence"] = json!(1)),
        ("no promoted release", |status| drop(status.as_object_mut().unwrap().remove("promoted"))),
        ("another tag under the same sequence", |status| status["promoted"]["tag"] = json!("main-1")),
        ("no status", |status| *status = json!({})),
    ];
    for (what, change) in back {
        let mut set = live.clone();
        change(&mut set.data["status"]);
        let (code, words) = put(&sets, &set).await;
        assert_eq!(code, 422, "{what}: {words}");
        assert!(words.contains("status.promoted never goes back"), "{what}: {words}");
    }
    let after = sets.get(SET).await.unwrap();
    assert_eq!(after.resource_version(), live.resource_version(), "nothing was written");
    assert_eq!(put(&sets, &live).await.0, 200, "the same write is taken when it takes nothing back");
}
