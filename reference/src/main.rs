//! rust-fil-proofs behind the external-processor protocol, and on the command line as the peer that wdpost is checked and
//! measured against.

mod case;
mod files;
mod post;
mod processor;
mod timing;

use std::path::PathBuf;

use anyhow::{bail, ensure, Result};
use clap::{Parser, Subcommand};

use case::{bytes32, config, prover_id, read_json, write_json, Case, SectorList};
use post::{prove, verify, winning_index, Call, Sector};

#[derive(Parser)]
#[command(about = "rust-fil-proofs as an external processor and as a reference")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve WindowPoSt requests on stdin
    #[command(name = "window_post")]
    WindowPost,
    /// Serve WinningPoSt requests on stdin
    #[command(name = "winning_post")]
    WinningPost,
    /// Peers start their processors as `processor STAGE`
    Processor { stage: String },
    /// Make sectors of random field elements
    Sectors {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long, default_value_t = 1008)]
        miner: u64,
        /// bytes
        #[arg(long)]
        size: u64,
        #[arg(long, default_value_t = 1)]
        first: u64,
        #[arg(long, default_value_t = 2)]
        count: u64,
        #[arg(long)]
        seed: u64,
    },
    /// Make parameters under FIL_PROOFS_PARAMETER_CACHE
    Params {
        #[arg(long = "type")]
        typ: String,
        /// bytes
        #[arg(long)]
        size: u64,
        /// sectors of one partition, 0 for the standard number
        #[arg(long, default_value_t = 0)]
        partition_sectors: usize,
    },
    /// Prove the sectors of a directory
    Prove {
        #[arg(long = "type")]
        typ: String,
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        list: PathBuf,
        /// comma-separated sector numbers; all of the list by default
        #[arg(long, value_delimiter = ',')]
        numbers: Vec<u64>,
        #[arg(long)]
        miner: u64,
        /// 32 bytes, hex
        #[arg(long)]
        randomness: String,
        /// 1.2 for window and 1.0 for winning by default
        #[arg(long)]
        api: Option<String>,
        #[arg(long)]
        out: PathBuf,
        /// sectors of one partition, 0 for the standard number
        #[arg(long, default_value_t = 0)]
        partition_sectors: usize,
        #[arg(long)]
        vanilla_only: bool,
        /// prove a window partition by partition
        #[arg(long)]
        single_partitions: bool,
    },
    /// Verify the proof in a file
    Verify {
        #[arg(long = "in")]
        input: PathBuf,
    },
    /// Time one Poseidon hash of eight elements
    TimePoseidon {
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        #[arg(long, default_value_t = 10_000)]
        hashes: usize,
    },
    /// Time the verification of proofs of one key as a batch
    TimeVerify {
        #[arg(long)]
        vk: PathBuf,
        /// 192 bytes for each proof
        #[arg(long)]
        proofs: PathBuf,
        /// public inputs of each proof in turn, 32 bytes little-endian each
        #[arg(long)]
        inputs: PathBuf,
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

fn main() -> Result<()> {
    fil_logger::maybe_init();
    match Args::parse().command {
        Command::WindowPost => processor::serve("window_post"),
        Command::WinningPost => processor::serve("winning_post"),
        Command::Processor { stage } => processor::serve(&stage),
        Command::Sectors { dir, miner, size, first, count, seed } => {
            files::make_sectors(&dir, &files::Batch { miner, sector_size: size, first, count, seed })
        }
        Command::Params { typ, size, partition_sectors } => {
            let api = if typ == "window" { "1.2" } else { "1.0" };
            files::make_params(&config(&typ, size, api, partition_sectors)?)
        }
        Command::Prove {
            typ,
            dir,
            list,
            numbers,
            miner,
            randomness,
            api,
            out,
            partition_sectors,
            vanilla_only,
            single_partitions,
        } => {
            let list: SectorList = read_json(&list)?;
            let api = api.unwrap_or_else(|| if typ == "window" { "1.2" } else { "1.0" }.to_string());
            let cfg = config(&typ, list.sector_size, &api, partition_sectors)?;
            let mut randomness = bytes32(&randomness, "randomness")?;
            randomness[31] &= 0x3f;
            let prover_id = prover_id(miner);

            let mut chosen: Vec<_> =
                list.sectors.iter().filter(|s| numbers.is_empty() || numbers.contains(&s.number)).collect();
            chosen.sort_by_key(|s| s.number);
            let mut winning = serde_json::json!({});
            if typ == "winning" {
                let index = winning_index(&cfg, &randomness, prover_id, chosen.len())?;
                let set: Vec<u64> = chosen.iter().map(|s| s.number).collect();
                winning = serde_json::json!({"challenged_indices": [index], "sector_set": set});
                chosen = vec![chosen[index]];
            }
            let sectors = chosen
                .iter()
                .map(|s| {
                    let name = format!("s-t0{miner}-{}", s.number);
                    Ok(Sector {
                        number: s.number,
                        comm_r: bytes32(&s.comm_r, "comm_r")?,
                        cache_dir: dir.join("cache").join(&name),
                        replica: dir.join("sealed").join(&name),
                    })
                })
                .collect::<Result<_>>()?;
            let per_partition = cfg.sector_count;
            let (challenge_count, api_version) = (cfg.challenge_count, cfg.api_version.to_string());
            let proven = prove(Call { config: cfg, randomness, prover_id, sectors, vanilla_only, single_partitions })?;
            ensure!(proven.faults.is_empty(), "sectors {:?} could not be read", proven.faults);
            let mut case = Case {
                api_version,
                challenge_count,
                miner,
                proof: hex::encode(&proven.proof),
                prover_id: hex::encode(prover_id),
                randomness: hex::encode(randomness),
                sector_size: list.sector_size,
                sectors: proven.sectors,
                sectors_per_partition: per_partition,
                timing_ms: proven.timing,
                typ,
                verified: false,
                winning,
            };
            if !vanilla_only {
                (case.verified, case.timing_ms.verify) = verify(&case)?;
            }
            write_json(&out, &case)
        }
        Command::Verify { input } => {
            let case: Case = read_json(&input)?;
            let (ok, ms) = verify(&case)?;
            if !ok {
                bail!("{}: the proof does not verify", input.display());
            }
            println!("{}: verified in {ms} ms", input.display());
            Ok(())
        }
        Command::TimePoseidon { rounds, hashes } => timing::poseidon(rounds, hashes),
        Command::TimeVerify { vk, proofs, inputs, rounds } => timing::verify(&vk, &proofs, &inputs, rounds),
    }
}
