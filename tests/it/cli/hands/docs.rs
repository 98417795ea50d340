//! What the how-to shows is what the commands do and print.

use serde_json::{Value, json};

use super::super::cluster::Kube;
use super::promoted;

const HOW_TO: &str = include_str!("../../../../docs/how-to/steer-a-release-set.md");

/// Blocks of the page in the language `kind`.
fn blocks(kind: &str) -> Vec<&'static str> {
    let begin = format!("```{kind}\n");
    HOW_TO
        .split(begin.as_str())
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block)
        .collect()
}

/// The rules of the Role that the page gives to people.
pub fn rules() -> Value {
    let roles = blocks("yaml");
    let role: Value = serde_saphyr::from_str(roles[0]).expect("the Role is YAML");
    role["rules"].clone()
}

fn words(line: &str) -> Vec<&str> {
    // Quotes only around what `--reason` says.
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part);
        } else {
            words.extend(part.split_whitespace());
        }
    }
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_works() {
    let kube = Kube::with_crd("hands-docs").await;
    kube.create("shop").await;
    kube.create("bakery").await;
    kube.set_status("shop", promoted()).await;
    kube.set_status("bakery", promoted()).await;
    let mut tried = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let line = line.split(" # ").next().unwrap_or_default();
        let Some(args) = line.strip_prefix("tidegate ") else { continue };
        let args = words(args);
        let is_hand = ["doctor", "explain"].iter().all(|verb| args[0] != *verb);
        // The registries of the page are none that a test asks.
        let more: &[&str] = match args[0] {
            "doctor" => &["--no-registry"],
            _ if is_hand => &["--yes"],
            _ => &[],
        };
        let answer = kube.call(&[&args[..], more].concat()).await;
        assert_eq!(answer.code, 0, "{line}: {}", answer.whole());
        tried += 1;
    }
    assert!(tried >= 8, "only {tried} commands were found");
}

/// A block `$ tidegate …` is followed by what is printed for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_shows_is_printed() {
    let kube = Kube::with_crd("hands-docs-words").await;
    kube.create("shop").await;
    kube.set_status("shop", promoted()).await;
    let mut shown = 0;
    for block in blocks("text") {
        let Some((command, printed)) = block.split_once('\n') else { continue };
        let Some(args) = command.strip_prefix("$ tidegate ") else { continue };
        let answer = kube.call(&[&words(args)[..], &["--yes"]].concat()).await;
        assert_eq!(answer.stdout, printed, "{command}");
        let hand = args.split_once(' ').map(|(hand, _)| hand);
        if let Some(sequence) = [("pin", 4), ("unpin", 5)].iter().find(|(of, _)| hand == Some(*of)) {
            // The controller promotes it, and once more under the spec without the pin.
            let mut status = promoted();
            status["promoted"]["tag"] = json!("main-5");
            status["promoted"]["sequence"] = json!(sequence.1);
            kube.set_status("shop", status).await;
        }
        shown += 1;
    }
    assert!(shown >= 3, "only {shown} outputs were found");
}
