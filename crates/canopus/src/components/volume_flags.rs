//! The flags of the volume binder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ArgAction::Set;
use k8s_openapi::api::core::v1::Pod;
use kube_controller_manager::controllers::persistentvolume_binder::{Options, Recycler};

use super::flags;

#[derive(Debug, clap::Args)]
pub struct VolumeFlags {
    /// How often claims and volumes that wait are looked at again
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "15s")]
    pvclaimbinder_sync_period: Duration,
    /// Ask provisioners for volumes
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = Set)]
    enable_dynamic_provisioning: bool,
    /// File with the pod that scrubs hostPath volumes; its first volume becomes the one to scrub
    #[arg(long, value_name = "FILE")]
    pv_recycler_pod_template_filepath_hostpath: Option<PathBuf>,
    /// Seconds that scrubbing a hostPath volume may take at the least
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pv_recycler_minimum_timeout_hostpath: i64,
    /// Seconds more for each Gi of a hostPath volume
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pv_recycler_timeout_increment_hostpath: i64,
    /// File with the pod that scrubs NFS volumes; its first volume becomes the one to scrub
    #[arg(long, value_name = "FILE")]
    pv_recycler_pod_template_filepath_nfs: Option<PathBuf>,
    /// Seconds that scrubbing an NFS volume may take at the least
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pv_recycler_minimum_timeout_nfs: i64,
    /// Seconds more for each Gi of an NFS volume
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pv_recycler_increment_timeout_nfs: i64,
}

impl VolumeFlags {
    /// What the flags say.
    pub fn options(&self) -> Result<Options> {
        Ok(Options {
            sync_period: self.pvclaimbinder_sync_period,
            dynamic_provisioning: self.enable_dynamic_provisioning,
            recycler_hostpath: Recycler {
                timeout_min: self.pv_recycler_minimum_timeout_hostpath,
                timeout_increment: self.pv_recycler_timeout_increment_hostpath,
                template: template(self.pv_recycler_pod_template_filepath_hostpath.as_deref())?,
            },
            recycler_nfs: Recycler {
                timeout_min: self.pv_recycler_minimum_timeout_nfs,
                timeout_increment: self.pv_recycler_increment_timeout_nfs,
                template: template(self.pv_recycler_pod_template_filepath_nfs.as_deref())?,
            },
        })
    }
}

fn template(file: Option<&Path>) -> Result<Pod> {
    let Some(file) = file else { return Ok(Recycler::default_template()) };
    let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    let read = || -> Result<Pod> {
        let value: serde_json::Value = serde_saphyr::from_str(&text).context("it is not YAML")?;
        let pod: Pod = serde_json::from_value(value).context("it is not a pod")?;
        Recycler::check(&pod).map_err(anyhow::Error::msg)?;
        Ok(pod)
    };
    read().with_context(|| format!("failed to load the pod in {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_a_pod_with_a_volume() {
        let file = std::env::temp_dir().join(format!("recycler-{}.yaml", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            template(Some(&file)).map_err(|error| format!("{error:#}"))
        };
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]";
        let good = read(&format!("{pod}, volumes: [{{name: v}}]}}\n")).unwrap();
        assert_eq!(good.metadata.name.as_deref(), Some("p"));
        assert!(read(&format!("{pod}}}\n")).unwrap_err().ends_with("does not contain any volume(s)"));
        assert!(read("[]").unwrap_err().contains("it is not a pod"));
        std::fs::remove_file(&file).unwrap();
        assert!(template(Some(&file)).is_err());
    }
}
