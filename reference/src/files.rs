//! Sector directories and parameters for development.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use filecoin_hashers::{Domain, HashFunction, Hasher};
use filecoin_proofs::{
    parameters::{window_post_public_params, winning_post_public_params},
    with_shape, MerkleTreeTrait, PoStConfig, PoStType,
};
use merkletree::{merkle::get_merkle_tree_len, store::StoreConfig};
use rand::{rngs::OsRng, Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use storage_proofs_core::{
    cache_key::CacheKey,
    compound_proof::CompoundProof,
    merkle::{create_lc_tree, get_base_tree_count, split_config_and_replica, LCTree},
    parameter_cache::CacheableParameters,
    util::{default_rows_to_discard, NODE_SIZE},
};
use storage_proofs_porep::stacked::PersistentAux;
use storage_proofs_post::fallback::{FallbackPoSt, FallbackPoStCircuit, FallbackPoStCompound};
use typenum::{Unsigned, U0};

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
        let comm_r = with_shape!(batch.sector_size, seal_shape, &mut rng, &sealed, &cache)?;
        File::create(cache.join("t_aux"))?;
        list.sectors.push(ListedSector { comm_r: hex::encode(comm_r), number });
    }
    write_json(&dir.join(format!("sectors-{}-{}.json", batch.miner, batch.first)), &list)
}

/// Builds tree-r-last over the replica and writes p_aux; returns comm_r. There is no tree-c behind comm_c: no proof of
/// spacetime opens it.
fn seal_shape<Tree: 'static + MerkleTreeTrait>(rng: &mut ChaCha20Rng, sealed: &Path, cache: &Path) -> Result<[u8; 32]> {
    type Base<Tree> = LCTree<<Tree as MerkleTreeTrait>::Hasher, <Tree as MerkleTreeTrait>::Arity, U0, U0>;
    let leaves = fs::read(sealed)?
        .chunks(NODE_SIZE)
        .map(<Tree::Hasher as Hasher>::Domain::try_from_bytes)
        .collect::<Result<Vec<_>>>()?;
    let (arity, trees) = (Tree::Arity::to_usize(), get_base_tree_count::<Tree>());
    let width = leaves.len() / trees;
    let size = get_merkle_tree_len(width, arity)?;
    let config = StoreConfig {
        path: cache.to_path_buf(),
        id: CacheKey::CommRLastTree.to_string(),
        size: Some(size),
        rows_to_discard: default_rows_to_discard(width, arity),
    };
    let (configs, replica) = split_config_and_replica(config, sealed.to_path_buf(), width, trees)?;
    for (config, base) in configs.iter().zip(leaves.chunks(width)) {
        Base::<Tree>::from_par_iter_with_config(base.to_vec(), config.clone())?;
    }
    let tree = create_lc_tree::<LCTree<Tree::Hasher, Tree::Arity, Tree::SubTreeArity, Tree::TopTreeArity>>(
        size, &configs, &replica,
    )?;
    let aux = PersistentAux { comm_c: <Tree::Hasher as Hasher>::Domain::random(rng), comm_r_last: tree.root() };
    fs::write(cache.join("p_aux"), bincode::serialize(&aux)?)?;
    let mut comm_r = [0u8; 32];
    comm_r.copy_from_slice(&<Tree::Hasher as Hasher>::Function::hash2(&aux.comm_c, &aux.comm_r_last).into_bytes());
    Ok(comm_r)
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
