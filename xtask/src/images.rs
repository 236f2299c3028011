//! `cargo xtask images`: builds the small test images of `images/*.yaml` from Debian's packages, as archives that
//! containerd imports (one layer each), and hands them to a cluster's `images` folder, from which `canopus` loads them.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::debian::{run, unpack_closure};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    name: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    packages: Vec<String>,
    /// Programs to copy out of the packages; the libraries that they load come along.
    #[serde(default)]
    binaries: Vec<PathBuf>,
    #[serde(default)]
    links: BTreeMap<PathBuf, PathBuf>,
    #[serde(default)]
    directories: Vec<PathBuf>,
    #[serde(default)]
    files: BTreeMap<PathBuf, String>,
    compile: Option<Compile>,
    /// Adds a link to `/bin/busybox` for each of its applets that the image has no program of its own for.
    #[serde(default)]
    busybox: bool,
    config: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compile {
    source: PathBuf,
    to: PathBuf,
}

/// Builds the named images (all recipes when none is named) into `target/images/NAME.tar`; unchanged ones are kept.
/// With a cluster's root folder, copies them where `canopus` picks them up.
pub fn images(workspace: &Path, names: &[String], root_dir: Option<&Path>) -> Result<()> {
    let recipes = workspace.join("images");
    let output = workspace.join("target/images");
    std::fs::create_dir_all(&output)?;
    let mut all: Vec<String> = std::fs::read_dir(&recipes)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    all.sort();
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("no recipe images/{unknown}.yaml; there are: {}", all.join(", "));
    }
    for name in all.iter().filter(|name| names.is_empty() || names.contains(name)) {
        let archive = output.join(format!("{name}.tar"));
        let stamp = output.join(format!("{name}.stamp"));
        let text = std::fs::read_to_string(recipes.join(format!("{name}.yaml")))?;
        let recipe: Recipe =
            serde_saphyr::from_str(&text).with_context(|| format!("failed to read the recipe of {name}"))?;
        let fingerprint = fingerprint(&text, &recipe, &recipes)?;
        if archive.exists() && std::fs::read_to_string(&stamp).is_ok_and(|old| old == fingerprint) {
            println!("{name}: up to date");
        } else {
            build(name, &recipe, &recipes, &output, &archive)
                .with_context(|| format!("failed to build the image {name}"))?;
            std::fs::write(&stamp, fingerprint)?;
            println!("{name}: built {} ({} KiB)", archive.display(), std::fs::metadata(&archive)?.len() / 1024);
        }
        if let Some(root_dir) = root_dir {
            let target = root_dir.join("images");
            std::fs::create_dir_all(&target)?;
            // By rename, so that a running cluster never imports half a file.
            let partial = target.join(format!(".{name}.tar"));
            std::fs::copy(&archive, &partial)?;
            std::fs::rename(&partial, target.join(format!("{name}.tar")))?;
        }
    }
    Ok(())
}

fn fingerprint(text: &str, recipe: &Recipe, recipes: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(text);
    if let Some(compile) = &recipe.compile {
        hash.update(std::fs::read(recipes.join(&compile.source))?);
    }
    Ok(hex(&hash.finalize()))
}

fn build(name: &str, recipe: &Recipe, recipes: &Path, output: &Path, archive: &Path) -> Result<()> {
    let work = output.join(format!("{name}.work"));
    if work.exists() {
        std::fs::remove_dir_all(&work)?;
    }
    let (packages, root, image) = (work.join("packages"), work.join("root"), work.join("image"));
    for folder in [&packages, &root, &image] {
        std::fs::create_dir_all(folder)?;
    }
    if !recipe.packages.is_empty() {
        unpack_closure(&recipe.packages, &work.join("apt"), &packages)?;
    }
    for folder in ["tmp", "etc", "proc", "sys", "dev", "root"]
        .iter()
        .map(Path::new)
        .chain(recipe.directories.iter().map(PathBuf::as_path))
    {
        std::fs::create_dir_all(below(&root, folder))?;
    }
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777))?;
    for binary in &recipe.binaries {
        copy_with_libraries(&packages, &root, binary)?;
    }
    for (link, target) in &recipe.links {
        symlink(target, below(&root, link))?;
    }
    write(
        &root,
        Path::new("/etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    )?;
    write(&root, Path::new("/etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    for (path, text) in &recipe.files {
        write(&root, path, text)?;
    }
    if let Some(compile) = &recipe.compile {
        run(Command::new("cc")
            .args(["-Os", "-static", "-s", "-o"])
            .arg(below(&root, &compile.to))
            .arg(recipes.join(&compile.source)))?;
    }
    if recipe.busybox {
        link_applets(&root)?;
    }
    pack(recipe, &root, &image, archive)?;
    std::fs::remove_dir_all(&work)?;
    Ok(())
}

/// Joins an absolute path inside the image to the folder that becomes the image's root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn write(root: &Path, path: &Path, text: &str) -> Result<()> {
    let file = below(root, path);
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::copy(from, to).with_context(|| format!("failed to copy {}", from.display())).map(drop)
}

/// Asks the packages' own dynamic loader, inside their folder, what a program loads; a static one loads nothing.
fn copy_with_libraries(packages: &Path, root: &Path, binary: &Path) -> Result<()> {
    copy(&below(packages, binary), &below(root, binary))?;
    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let Some(loader) = loaders.iter().find(|loader| below(packages, Path::new(loader)).symlink_metadata().is_ok())
    else {
        return Ok(());
    };
    let Ok(listing) = run(Command::new("chroot").arg(packages).arg(loader).arg("--list").arg(binary)) else {
        return Ok(());
    };
    for library in listing.split_whitespace().filter(|word| word.starts_with('/')).chain([*loader]) {
        copy(&resolve(packages, Path::new(library))?, &below(root, Path::new(library)))?;
    }
    Ok(())
}

/// Follows the links of a file inside the packages' folder, where an absolute link means a place below that folder.
fn resolve(packages: &Path, path: &Path) -> Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..8 {
        let Ok(target) = std::fs::read_link(below(packages, &path)) else { return Ok(below(packages, &path)) };
        path = if target.is_absolute() { target } else { path.parent().unwrap_or(Path::new("/")).join(target) };
    }
    bail!("too many links at {}", path.display())
}

fn link_applets(root: &Path) -> Result<()> {
    let list = run(Command::new(root.join("bin/busybox")).arg("--list"))?;
    for applet in list.lines().filter(|applet| *applet != "busybox") {
        let taken = ["bin", "usr/bin", "usr/sbin", "sbin"]
            .iter()
            .any(|folder| root.join(folder).join(applet).symlink_metadata().is_ok());
        if !taken {
            symlink("busybox", root.join("bin").join(applet))?;
        }
    }
    Ok(())
}

/// Writes the archive in the layout of `docker save`, whose short names containerd completes by its own rule.
fn pack(recipe: &Recipe, root: &Path, image: &Path, archive: &Path) -> Result<()> {
    let tar = |from: &Path, to: &Path| {
        run(Command::new("tar")
            .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-C"])
            .arg(from)
            .arg("-cf")
            .arg(to)
            .arg("."))
    };
    tar(root, &image.join("layer.tar"))?;
    let layer_digest = hex(&Sha256::digest(std::fs::read(image.join("layer.tar"))?));
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = serde_json::to_vec(&json!({
        "architecture": architecture,
        "os": "linux",
        "config": recipe.config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
    }))?;
    let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
    std::fs::write(image.join(&config_name), config)?;
    let names: Vec<&String> = std::iter::once(&recipe.name).chain(&recipe.tags).collect();
    std::fs::write(
        image.join("manifest.json"),
        serde_json::to_vec(&json!([{"Config": config_name, "RepoTags": names, "Layers": ["layer.tar"]}]))?,
    )?;
    let partial = archive.with_extension("partial");
    run(Command::new("tar")
        .arg("-C")
        .arg(image)
        .arg("-cf")
        .arg(&partial)
        .args(["manifest.json", "layer.tar"])
        .arg(&config_name))?;
    std::fs::rename(&partial, archive).map_err(Into::into)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
