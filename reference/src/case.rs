//! One proof call as a JSON file: the form of the golden data, which `venus-sector-manager util post` reads and writes too.

use anyhow::{bail, Context, Result};
use filecoin_proofs::{PoStConfig, PoStType, SectorSize, WINDOW_POST_CHALLENGE_COUNT, WINNING_POST_CHALLENGE_COUNT};
use serde::{Deserialize, Serialize};
use storage_proofs_core::api_version::ApiVersion;

/// A proof call: what was asked, the vanilla proofs, and the proof.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct Case {
    pub api_version: String,
    pub challenge_count: usize,
    pub miner: u64,
    /// 192 bytes a partition, hex; empty when only vanilla proofs were made.
    pub proof: String,
    pub prover_id: String,
    /// 32 bytes, hex, already masked to less than 2^254.
    pub randomness: String,
    pub sector_size: u64,
    pub sectors: Vec<CaseSector>,
    pub sectors_per_partition: usize,
    pub timing_ms: Timing,
    #[serde(rename = "type")]
    pub typ: String,
    pub verified: bool,
    #[serde(default)]
    pub winning: serde_json::Value,
}

#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct CaseSector {
    pub challenges: Vec<u64>,
    pub comm_r: String,
    pub number: u64,
    /// bincode, hex
    #[serde(default)]
    pub vanilla: String,
    #[serde(default)]
    pub vanilla_len: usize,
    #[serde(default)]
    pub vanilla_sha256: String,
}

#[derive(Serialize, Deserialize, Debug, Clone, Default)]
pub struct Timing {
    pub prove: u128,
    pub vanilla: u128,
    pub verify: u128,
}

/// The list of sectors of a directory.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct SectorList {
    pub miner: u64,
    pub sector_size: u64,
    pub sectors: Vec<ListedSector>,
}

#[derive(Serialize, Deserialize, Debug, Clone)]
pub struct ListedSector {
    pub comm_r: String,
    pub number: u64,
}

pub fn read_json<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
}

pub fn write_json<T: Serialize>(path: &std::path::Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(value)?;
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

pub fn bytes32(hex_text: &str, what: &str) -> Result<[u8; 32]> {
    let b = hex::decode(hex_text).with_context(|| what.to_string())?;
    b.try_into().map_err(|b: Vec<u8>| anyhow::anyhow!("{what}: {} bytes, want 32", b.len()))
}

/// The ID address of a miner as a prover id: LEB128, left-aligned.
pub fn prover_id(miner: u64) -> [u8; 32] {
    let (mut id, mut n, mut i) = ([0u8; 32], miner, 0);
    while n >= 0x80 {
        id[i] = (n as u8) | 0x80;
        n >>= 7;
        i += 1;
    }
    id[i] = n as u8;
    id
}

pub fn api_version(text: &str) -> Result<ApiVersion> {
    Ok(match text {
        "1.0" | "1.0.0" => ApiVersion::V1_0_0,
        "1.1" | "1.1.0" => ApiVersion::V1_1_0,
        "1.2" | "1.2.0" => ApiVersion::V1_2_0,
        _ => bail!("api version {text}: use 1.0, 1.1 or 1.2"),
    })
}

/// Sectors of one window partition unless overridden.
fn window_sectors(sector_size: u64) -> usize {
    match sector_size {
        0x8_0000_0000 => 2349,
        0x10_0000_0000 => 2300,
        _ => 2,
    }
}

/// The reference's configuration of a call. `per_partition` 0 is the standard number.
pub fn config(typ: &str, sector_size: u64, api: &str, per_partition: usize) -> Result<PoStConfig> {
    let (typ, challenge_count, standard) = match typ {
        "window" => (PoStType::Window, WINDOW_POST_CHALLENGE_COUNT, window_sectors(sector_size)),
        "winning" => (PoStType::Winning, WINNING_POST_CHALLENGE_COUNT, 1),
        _ => bail!("type {typ}: use window or winning"),
    };
    Ok(PoStConfig {
        sector_size: SectorSize(sector_size),
        challenge_count,
        sector_count: if per_partition == 0 { standard } else { per_partition },
        typ,
        priority: true,
        api_version: api_version(api)?,
    })
}
