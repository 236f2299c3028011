//! Nodes that have a pod's images already are liked better, the more so the larger the images are; images that only few
//! nodes have count less, so that pods do not crowd there.

use super::{Event, Plugin, SCORE_MAX};
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

const MIB: i64 = 1024 * 1024;
/// What is smaller than this is pulled in no time.
const BYTES_MIN: i64 = 23 * MIB;
/// For each container, what more than this makes no difference.
const BYTES_MAX: i64 = 1000 * MIB;

pub struct ImageLocality;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &PodInfo, nodes: &Nodes, rows: &[usize], scores: &mut [i64]) {
        let images = pod.images();
        let known: Vec<(&str, usize)> =
            images.iter().map(|image| (image.as_str(), nodes.nodes_with_image(image))).collect();
        let (least, most) = (BYTES_MIN, BYTES_MAX.saturating_mul(images.len() as i64));
        if known.iter().all(|(_, count)| *count == 0) {
            return;
        }
        for (score, row) in scores.iter_mut().zip(rows) {
            let here = known.iter().filter_map(|(image, count)| Some((nodes.images[*row].get(*image)?, count)));
            let sum: i64 =
                here.map(|(bytes, count)| (*bytes as f64 * (*count as f64 / nodes.len() as f64)) as i64).sum();
            *score = SCORE_MAX * (sum.clamp(least, most) - least) / (most - least);
        }
    }

    fn is_concerned_by(&self, _event: &Event<'_>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::nodes::tests::node;
    use crate::pod_info::tests::pod;

    #[test]
    fn large_images_draw_pods_by_the_share_of_nodes_that_have_them() {
        let mut nodes = Nodes::default();
        for name in ["a", "b"] {
            let mut node = node(name, "4", "4Gi", json!({}));
            if name == "a" {
                let image = json!([{"names": ["example.com/big:latest"], "sizeBytes": 1000 * MIB}]);
                node.status.get_or_insert_default().images = serde_json::from_value(image).unwrap();
            }
            nodes.set_node(&node);
        }
        let score = |image: &str, nodes: &Nodes| {
            let mut scores = vec![0; 2];
            let pod = pod("p", json!({"containers": [{"name": "c", "image": image}]}));
            ImageLocality.score(&pod, nodes, &[0, 1], &mut scores);
            scores
        };
        // Half of the nodes have it: half of its size counts.
        assert_eq!(score("example.com/big", &nodes), [SCORE_MAX * (500 - 23) / (1000 - 23), 0]);
        assert_eq!(score("example.com/big:other", &nodes), [0, 0]);
        nodes.remove_node("a");
        assert_eq!(nodes.nodes_with_image("example.com/big:latest"), 0);
    }
}
