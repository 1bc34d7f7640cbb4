//! Sector directories and parameters for development.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use filecoin_hashers::{Domain, Hasher};
use filecoin_proofs::{
    parameters::{window_post_public_params, winning_post_public_params},
    with_shape, DefaultPieceHasher, MerkleTreeTrait, PoStConfig, PoStType,
};
use rand::{rngs::OsRng, Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use storage_proofs_core::{compound_proof::CompoundProof, parameter_cache::CacheableParameters};
use storage_proofs_porep::stacked::StackedDrg;
use storage_proofs_post::fallback::{FallbackPoSt, FallbackPoStCircuit, FallbackPoStCompound};

use crate::case::{write_json, ListedSector, SectorList};

/// Sectors to make under a directory, in lotus layout.
pub struct Batch {
    pub miner: u64,
    pub sector_size: u64,
    pub first: u64,
    pub count: u64,
    pub seed: u64,
}

/// Writes replicas of random field elements with their trees, and the list of their commitments.
pub fn make_sectors(dir: &Path, batch: &Batch) -> Result<()> {
    let mut rng = ChaCha20Rng::seed_from_u64(batch.seed);
    let mut list = SectorList { miner: batch.miner, sector_size: batch.sector_size, sectors: vec![] };
    for number in batch.first..batch.first + batch.count {
        let name = format!("s-t0{}-{number}", batch.miner);
        let (sealed, cache) = (dir.join("sealed").join(&name), dir.join("cache").join(&name));
        fs::create_dir_all(sealed.parent().expect("a parent"))?;
        fs::create_dir_all(&cache)?;
        let mut out = BufWriter::new(File::create_new(&sealed).with_context(|| sealed.display().to_string())?);
        for _ in 0..batch.sector_size / 32 {
            let mut node: [u8; 32] = rng.gen();
            node[31] &= 0x3f;
            out.write_all(&node)?;
        }
        out.flush()?;
        let comm_r = with_shape!(batch.sector_size, seal_shape, &mut rng, &sealed, &cache, batch.sector_size)?;
        File::create(cache.join("t_aux"))?;
        list.sectors.push(ListedSector { comm_r: hex::encode(comm_r), number });
    }
    write_json(&dir.join(format!("sectors-{}-{}.json", batch.miner, batch.first)), &list)
}

fn seal_shape<Tree: 'static + MerkleTreeTrait>(
    rng: &mut ChaCha20Rng,
    sealed: &Path,
    cache: &Path,
    sector_size: u64,
) -> Result<[u8; 32]> {
    let comm_c = <Tree::Hasher as Hasher>::Domain::random(rng);
    let (comm_r, p_aux) =
        StackedDrg::<Tree, DefaultPieceHasher>::fake_replicate_phase2(comm_c, sealed, cache, sector_size as usize)?;
    fs::write(cache.join("p_aux"), bincode::serialize(&p_aux)?)?;
    let mut out = [0u8; 32];
    out.copy_from_slice(&comm_r.into_bytes());
    Ok(out)
}

/// Makes .meta, .params and .vk under FIL_PROOFS_PARAMETER_CACHE unless they are there.
pub fn make_params(cfg: &PoStConfig) -> Result<()> {
    with_shape!(u64::from(cfg.sector_size), params_shape, cfg)
}

fn params_shape<Tree: 'static + MerkleTreeTrait>(cfg: &PoStConfig) -> Result<()> {
    type Compound<Tree> = FallbackPoStCompound<Tree>;
    let public = match cfg.typ {
        PoStType::Window => window_post_public_params::<Tree>(cfg)?,
        PoStType::Winning => winning_post_public_params::<Tree>(cfg)?,
    };
    let blank =
        || <Compound<Tree> as CompoundProof<FallbackPoSt<'_, Tree>, FallbackPoStCircuit<Tree>>>::blank_circuit(&public);
    <Compound<Tree> as CacheableParameters<_, _>>::get_param_metadata(blank(), &public)?;
    <Compound<Tree> as CacheableParameters<_, _>>::get_groth_params(Some(&mut OsRng), blank(), &public)?;
    <Compound<Tree> as CacheableParameters<_, _>>::get_verifying_key(Some(&mut OsRng), blank(), &public)?;
    Ok(())
}
