//! Timings of single building blocks, each printed as one JSON object.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{ensure, Context, Result};
use bellperson::groth16::{prepare_verifying_key, verify_proofs_batch, Proof, VerifyingKey};
use blstrs::{Bls12, Scalar};
use ff::{Field, PrimeField};
use filecoin_hashers::POSEIDON_CONSTANTS_8;
use neptune::Poseidon;
use rand::{rngs::OsRng, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// Nanoseconds of one Poseidon hash of eight elements on one core: the median of `rounds` rounds of `hashes` each.
pub fn poseidon(rounds: usize, hashes: usize) -> Result<()> {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let mut preimage: Vec<Scalar> = (0..8).map(|_| Scalar::random(&mut rng)).collect();
    let took = median(rounds, || {
        for i in 0..hashes {
            // Each hash feeds the next, so that none can be left out.
            let mut hasher = Poseidon::new_with_preimage(&preimage, &POSEIDON_CONSTANTS_8);
            preimage[i % 8] = hasher.hash();
        }
        Ok(())
    })?;
    println!("{}", serde_json::json!({ "ns": took.as_nanos() as f64 / hashes as f64 }));
    Ok(())
}

/// Microseconds of verifying the first of the proofs of one key, and all of them as a batch: medians of `rounds`. `proofs`
/// holds 192 bytes each, `inputs` the public inputs of each in turn, 32 bytes little-endian.
pub fn verify(vk: &Path, proofs: &Path, inputs: &Path, rounds: usize) -> Result<()> {
    let vk_bytes = fs::read(vk).with_context(|| vk.display().to_string())?;
    let key = prepare_verifying_key(&VerifyingKey::<Bls12>::read(&vk_bytes[..])?);
    let proof_bytes = fs::read(proofs).with_context(|| proofs.display().to_string())?;
    let proofs = Proof::<Bls12>::read_many(&proof_bytes, proof_bytes.len() / Proof::<Bls12>::size())?;
    let input_bytes = fs::read(inputs).with_context(|| inputs.display().to_string())?;
    let scalars = input_bytes
        .chunks(32)
        .map(|b| Option::from(Scalar::from_repr(b.try_into()?)).context("an input is no field element"))
        .collect::<Result<Vec<Scalar>>>()?;
    ensure!(
        !proofs.is_empty() && scalars.len() % proofs.len() == 0,
        "{} inputs for {} proofs",
        scalars.len(),
        proofs.len()
    );
    let inputs: Vec<Vec<Scalar>> = scalars.chunks(scalars.len() / proofs.len()).map(<[_]>::to_vec).collect();
    let proofs: Vec<_> = proofs.iter().collect();
    let took = |n: usize| {
        median(rounds, || {
            ensure!(verify_proofs_batch(&key, &mut OsRng, &proofs[..n], &inputs[..n])?, "a proof does not verify");
            Ok(())
        })
    };
    let (one, all) = (took(1)?, took(proofs.len())?);
    println!("{}", serde_json::json!({ "one_us": one.as_micros(), "all_us": all.as_micros() }));
    Ok(())
}

fn median(rounds: usize, mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    ensure!(rounds > 0, "no rounds");
    let mut took = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        work()?;
        took.push(start.elapsed());
    }
    took.sort();
    Ok(took[rounds / 2])
}
