use std::io::Read as _;
use std::path::PathBuf;

use super::*;
use crate::image::rootfs::{Layer, USER};

fn layer() -> Layer {
    rootfs::layer(&rootfs::files(b"binary", b"certificates", b"license")).unwrap()
}

fn images() -> Vec<Image> {
    [Arch::Amd64, Arch::Arm64].map(|arch| Image { arch: arch.name(), layer: layer() }).into()
}

#[test]
fn the_same_files_are_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let [once, again] =
        ["once", "again"].map(|name| layout::write(&folder.path().join(name), "a:b", &images()).unwrap());
    assert_eq!(once, again);
    let other = vec![Image { arch: "amd64", layer: layer() }];
    assert_ne!(layout::write(&folder.path().join("once"), "a:b", &other).unwrap(), once);
}

#[test]
fn the_layer_holds_what_root_owns_and_nobody_else_can_write() {
    let layer = layer();
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(layer.gzip.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, layer.tar);
    let mut archive = tar::Archive::new(layer.tar.as_slice());
    let mut told = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        let owner = (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
        assert_eq!(owner, (0, 0, 0));
        told.push(format!("{:o} {}", header.mode().unwrap(), entry.path().unwrap().display()));
    }
    let expected = [
        "755 etc/",
        "644 etc/group",
        "644 etc/passwd",
        "755 etc/ssl/",
        "755 etc/ssl/certs/",
        "644 etc/ssl/certs/ca-certificates.crt",
        "755 licenses/",
        "644 licenses/LICENSE",
        "755 pipeline-controller",
        "1777 tmp/",
    ];
    assert_eq!(told, expected);
}

/// Each descriptor names a file by its content.
#[test]
fn the_layout_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    layout::write(folder.path(), "registry.example/image:1", &images()).unwrap();
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let content = fs::read(folder.path().join("blobs/sha256").join(digest)).unwrap();
        assert_eq!(layout::sha256(&content), digest);
        assert_eq!(descriptor["size"], content.len());
        content
    };
    let json = |content: Vec<u8>| serde_json::from_slice::<Value>(&content).unwrap();
    let top = json(fs::read(folder.path().join("index.json")).unwrap());
    let name = &top["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    assert_eq!(name, "registry.example/image:1");
    let index = json(blob(&top["manifests"][0]));
    let mut architectures = Vec::new();
    for manifest in index["manifests"].as_array().unwrap() {
        let platform = manifest["platform"]["architecture"].clone();
        let manifest = json(blob(manifest));
        let config = json(blob(&manifest["config"]));
        assert_eq!(config["architecture"], platform);
        assert_eq!(config["config"]["User"], USER);
        blob(&manifest["layers"][0]);
        let unpacked = format!("sha256:{}", layout::sha256(&layer().tar));
        assert_eq!(config["rootfs"]["diff_ids"][0], unpacked);
        architectures.push(platform);
    }
    assert_eq!(architectures, ["amd64", "arm64"]);
}

/// The header of a file with one program header of this type.
fn elf(machine: u8, kind: u8) -> Vec<u8> {
    let mut file = vec![0; 64 + 56];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    (file[18], file[32], file[54], file[56], file[64]) = (machine, 64, 56, 1, kind);
    file
}

#[test]
fn only_static_binaries_of_the_architecture_pass() {
    let check = |binary: &[u8], arch| elf::check_static(binary, arch).map_err(|error| error.to_string());
    assert_eq!(check(&elf(62, 1), Arch::Amd64), Ok(()));
    assert_eq!(check(&elf(183, 1), Arch::Arm64), Ok(()));
    assert_eq!(check(&elf(62, 3), Arch::Amd64).unwrap_err(), "is linked dynamically");
    assert_eq!(check(&elf(62, 1), Arch::Arm64).unwrap_err(), "is not for arm64");
    assert_eq!(check(&elf(62, 1)[..64], Arch::Amd64).unwrap_err(), "is cut short");
    assert_eq!(check(b"#!/bin/sh\n", Arch::Amd64).unwrap_err(), "is no little-endian ELF file of 64 bits");
    // Of this machine's C library.
    let dynamic = fs::read(env::current_exe().unwrap()).unwrap();
    let arch = if cfg!(target_arch = "x86_64") { Arch::Amd64 } else { Arch::Arm64 };
    assert_eq!(check(&dynamic, arch).unwrap_err(), "is linked dynamically");
}

/// What the Dockerfile says, line by line.
#[test]
fn the_dockerfile_makes_the_same_image() {
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let says =
        |line: &str| assert!(dockerfile.lines().any(|said| said.trim() == line), "Dockerfile does not say {line:?}");
    let config = layout::config();
    says("FROM scratch");
    says(&format!("USER {USER}"));
    says(&format!("ENTRYPOINT {}", config["Entrypoint"]));
    says(&format!("ENV {}", config["Env"][0].as_str().unwrap()));
    let ports: Vec<_> =
        config["ExposedPorts"].as_object().unwrap().keys().filter_map(|port| port.strip_suffix("/tcp")).collect();
    says(&format!("EXPOSE {}", ports.join(" ")));
    for (label, value) in config["Labels"].as_object().unwrap() {
        assert!(dockerfile.contains(&format!("{label}={value}")), "Dockerfile has another {label} than {value}");
    }
    says(&format!("ARG ZIG={}", tools::ZIG));
    says(&format!("ARG CARGO_ZIGBUILD={}", tools::CARGO_ZIGBUILD));
    for arch in [Arch::Amd64, Arch::Arm64] {
        says(&format!("{}) target={} ;; \\", arch.name(), arch.target()));
    }
    for file in
        ["etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "licenses/LICENSE", "pipeline-controller"]
    {
        let there = dockerfile.split_whitespace().any(|word| PathBuf::from("/rootfs").join(file).as_os_str() == word);
        assert!(there, "Dockerfile makes no {file}");
    }
}

/// An image that another program reads.
#[test]
#[ignore = "needs skopeo: run `cargo xtask test`"]
fn skopeo_reads_the_layout() {
    let folder = tempfile::tempdir().unwrap();
    layout::write(folder.path(), "registry.example/image:1", &images()).unwrap();
    let source = format!("oci:{}:registry.example/image:1", folder.path().display());
    let copy = tempfile::tempdir().unwrap();
    let target = format!("dir:{}", copy.path().display());
    for arguments in [
        vec!["--override-arch", "arm64", "inspect", "--config", &source],
        vec!["copy", "--insecure-policy", "--all", &source, &target],
    ] {
        let output = Command::new("skopeo").args(&arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(arguments[0] == "copy" || told.contains(r#""architecture": "arm64""#), "{told}");
    }
}
