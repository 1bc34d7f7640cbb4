//! Prove and verify through the reference, generic over the four tree shapes.

use std::{collections::BTreeMap, path::PathBuf, time::Instant};

use anyhow::{bail, ensure, Context, Result};
use filecoin_proofs::{
    generate_fallback_sector_challenges, generate_single_vanilla_proof, generate_single_window_post_with_vanilla,
    generate_window_post_with_vanilla, generate_winning_post_sector_challenge, generate_winning_post_with_vanilla,
    verify_window_post, verify_winning_post, with_shape, FallbackPoStSectorProof, MerkleTreeTrait, PoStConfig,
    PoStType, PrivateReplicaInfo, PublicReplicaInfo, SectorShape2KiB,
};
use sha2::{Digest, Sha256};
use storage_proofs_core::sector::SectorId;

use crate::case::{bytes32, config, Case, CaseSector, Timing};

/// One sector of a call and where its files are.
pub struct Sector {
    pub number: u64,
    pub comm_r: [u8; 32],
    pub cache_dir: PathBuf,
    pub replica: PathBuf,
}

/// What a proof call needs.
pub struct Call {
    pub config: PoStConfig,
    pub randomness: [u8; 32],
    pub prover_id: [u8; 32],
    pub sectors: Vec<Sector>,
    /// Leave the SNARK out.
    pub vanilla_only: bool,
    /// Prove a window partition by partition, with the reference's call for that.
    pub single_partitions: bool,
}

/// What came of it.
#[derive(Default)]
pub struct Proven {
    pub sectors: Vec<CaseSector>,
    pub proof: Vec<u8>,
    pub faults: Vec<u64>,
    pub timing: Timing,
}

/// Proves the call. Sectors whose vanilla proof fails are faults; with faults there is no proof.
pub fn prove(call: Call) -> Result<Proven> {
    let size = u64::from(call.config.sector_size);
    with_shape!(size, prove_shape, call)
}

fn prove_shape<Tree: 'static + MerkleTreeTrait>(mut call: Call) -> Result<Proven> {
    ensure!(!call.sectors.is_empty(), "no sectors");
    call.sectors.sort_by_key(|s| s.number);
    let ids: Vec<SectorId> = call.sectors.iter().map(|s| SectorId::from(s.number)).collect();
    let challenges = generate_fallback_sector_challenges::<Tree>(&call.config, &call.randomness, &ids, call.prover_id)?;

    let mut out = Proven::default();
    let mut vanilla: Vec<FallbackPoStSectorProof<Tree>> = Vec::new();
    let start = Instant::now();
    for s in &call.sectors {
        let id = SectorId::from(s.number);
        let made = PrivateReplicaInfo::<Tree>::new(s.replica.clone(), s.comm_r, s.cache_dir.clone())
            .and_then(|info| generate_single_vanilla_proof::<Tree>(&call.config, id, &info, &challenges[&id]));
        match made {
            Ok(proof) => {
                let bytes = bincode::serialize(&proof)?;
                out.sectors.push(CaseSector {
                    challenges: challenges[&id].clone(),
                    comm_r: hex::encode(s.comm_r),
                    number: s.number,
                    vanilla_len: bytes.len(),
                    vanilla_sha256: hex::encode(Sha256::digest(&bytes)),
                    vanilla: hex::encode(bytes),
                });
                vanilla.push(proof);
            }
            Err(err) => {
                eprintln!("sector {}: {err:#}", s.number);
                out.faults.push(s.number);
            }
        }
    }
    out.timing.vanilla = start.elapsed().as_millis();
    if !out.faults.is_empty() || call.vanilla_only {
        return Ok(out);
    }
    let start = Instant::now();
    out.proof = match call.config.typ {
        PoStType::Window if call.single_partitions => prove_by_partition(&call, vanilla),
        PoStType::Window => {
            generate_window_post_with_vanilla::<Tree>(&call.config, &call.randomness, call.prover_id, vanilla)
        }
        PoStType::Winning => {
            generate_winning_post_with_vanilla::<Tree>(&call.config, &call.randomness, call.prover_id, vanilla)
        }
    }?;
    out.timing.prove = start.elapsed().as_millis();
    Ok(out)
}

fn prove_by_partition<Tree: 'static + MerkleTreeTrait>(
    call: &Call,
    mut vanilla: Vec<FallbackPoStSectorProof<Tree>>,
) -> Result<Vec<u8>> {
    let mut proof = Vec::new();
    let mut index = 0;
    while !vanilla.is_empty() {
        let rest = vanilla.split_off(vanilla.len().min(call.config.sector_count));
        let part = generate_single_window_post_with_vanilla::<Tree>(
            &call.config,
            &call.randomness,
            call.prover_id,
            vanilla,
            index,
        )?;
        proof.extend(part.0);
        (vanilla, index) = (rest, index + 1);
    }
    Ok(proof)
}

/// Verifies the proof of a case against its sectors' commitments; returns the verdict and the time in milliseconds.
pub fn verify(case: &Case) -> Result<(bool, u128)> {
    with_shape!(case.sector_size, verify_shape, case)
}

fn verify_shape<Tree: 'static + MerkleTreeTrait>(case: &Case) -> Result<(bool, u128)> {
    let cfg = case_config(case)?;
    let randomness = bytes32(&case.randomness, "randomness")?;
    let prover_id = bytes32(&case.prover_id, "prover_id")?;
    let proof = hex::decode(&case.proof).context("proof")?;
    let replicas: Vec<(SectorId, PublicReplicaInfo)> = case
        .sectors
        .iter()
        .map(|s| Ok((SectorId::from(s.number), PublicReplicaInfo::new(bytes32(&s.comm_r, "comm_r")?)?)))
        .collect::<Result<_>>()?;
    let start = Instant::now();
    let ok = match cfg.typ {
        PoStType::Window => {
            let map: BTreeMap<_, _> = replicas.into_iter().collect();
            verify_window_post::<Tree>(&cfg, &randomness, &map, prover_id, &proof)
        }
        PoStType::Winning => verify_winning_post::<Tree>(&cfg, &randomness, &replicas, prover_id, &proof),
    }?;
    Ok((ok, start.elapsed().as_millis()))
}

pub fn case_config(case: &Case) -> Result<PoStConfig> {
    config(&case.typ, case.sector_size, &case.api_version, case.sectors_per_partition)
}

/// The index into an ascending sector set that a winning proof must answer for.
pub fn winning_index(cfg: &PoStConfig, randomness: &[u8; 32], prover_id: [u8; 32], set: usize) -> Result<usize> {
    if cfg.typ != PoStType::Winning {
        bail!("only a winning proof selects a sector");
    }
    // The selection does not depend on the tree shape.
    let picked = generate_winning_post_sector_challenge::<SectorShape2KiB>(cfg, randomness, set as u64, prover_id)?;
    Ok(picked[0] as usize)
}
