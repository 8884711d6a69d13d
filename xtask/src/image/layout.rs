//! An OCI image layout: <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::{Value, json};

use super::rootfs::{Layer, USER};

/// An image for one architecture.
pub(super) struct Image {
    pub(super) arch: &'static str,
    pub(super) layer: Layer,
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// No time, so that the same files are the same image.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// What the image is and how it is run.
pub(super) fn config() -> Value {
    json!({
        "User": USER,
        "Entrypoint": ["/pipeline-controller"],
        "Env": ["SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
        "ExposedPorts": {"8080/tcp": {}, "8081/tcp": {}, "8082/tcp": {}},
        "WorkingDir": "/",
        "Labels": {
            "org.opencontainers.image.title": "pipeline-controller",
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
        },
    })
}

/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md>
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Value>,
}

/// Writes the layout anew with one image under `name`, for each of the architectures, and answers the image's digest.
pub(super) fn write(folder: &Path, name: &str, images: &[Image]) -> anyhow::Result<String> {
    let blobs = folder.join("blobs/sha256");
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot replace {}", folder.display()))?;
    }
    fs::create_dir_all(&blobs).with_context(|| format!("cannot make {}", folder.display()))?;
    let blob = |media_type, content: &[u8]| {
        let hex = sha256(content);
        fs::write(blobs.join(&hex), content)?;
        let digest = format!("sha256:{hex}");
        anyhow::Ok(Descriptor { media_type, digest, size: content.len(), platform: None, annotations: None })
    };
    let mut manifests = Vec::new();
    for Image { arch, layer } in images {
        let config = blob(
            CONFIG,
            &serde_json::to_vec(&json!({
                "created": CREATED,
                "architecture": arch,
                "os": "linux",
                "config": config(),
                "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer.tar))]},
                "history": [{"created": CREATED, "created_by": "cargo xtask image"}],
            }))?,
        )?;
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [blob(LAYER, &layer.gzip)?]});
        let platform = Some(json!({"os": "linux", "architecture": arch}));
        manifests.push(Descriptor { platform, ..blob(MANIFEST, &serde_json::to_vec(&manifest)?)? });
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    let annotations = Some(json!({"org.opencontainers.image.ref.name": name}));
    let index = Descriptor { annotations, ..blob(INDEX, &serde_json::to_vec(&index)?)? };
    let top = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [&index]});
    fs::write(folder.join("index.json"), serde_json::to_vec(&top)?)?;
    fs::write(folder.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    Ok(index.digest)
}

pub(super) fn sha256(content: &[u8]) -> String {
    digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
