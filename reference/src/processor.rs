//! The external-processor protocol: a ready line, then one JSON object a line on stdin and stdout.

use std::{
    io::{BufRead, Write},
    path::PathBuf,
    sync::mpsc,
    thread,
};

use anyhow::{bail, ensure, Context, Result};
use base64::{engine::general_purpose::STANDARD, Engine};
use filecoin_proofs::PoStType;
use serde::{Deserialize, Serialize};

use crate::{
    case::{config, prover_id},
    post::{prove, Call, Sector},
};

#[derive(Deserialize)]
struct Request {
    id: u64,
    task: Task,
}

#[derive(Deserialize)]
struct Task {
    miner_id: u64,
    proof_type: String,
    replicas: Vec<Replica>,
    seed: [u8; 32],
}

#[derive(Deserialize)]
struct Replica {
    sector_id: u64,
    comm_r: [u8; 32],
    cache_dir: PathBuf,
    sealed_file: PathBuf,
}

#[derive(Serialize)]
struct Response {
    id: u64,
    err_msg: Option<String>,
    output: Option<Output>,
}

#[derive(Serialize)]
struct Output {
    proofs: Vec<String>,
    faults: Vec<u64>,
}

/// Serves requests of one stage, one after another, until stdin ends.
/// Requests are read ahead, so that the host never blocks on a full pipe.
pub fn serve(stage: &str) -> Result<()> {
    let typ = match stage {
        "window_post" => PoStType::Window,
        "winning_post" => PoStType::Winning,
        _ => bail!("unknown stage {stage}: use window_post or winning_post"),
    };
    let (send, requests) = mpsc::channel::<Request>();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
            match serde_json::from_str(&line) {
                Ok(request) => {
                    if send.send(request).is_err() {
                        return;
                    }
                }
                Err(err) => eprintln!("not a request: {err}"),
            }
        }
    });
    say(&format!("{stage} processor ready"))?;
    for request in requests {
        let (output, err_msg) = match answer(&typ, request.task) {
            Ok(output) => (Some(output), None),
            Err(err) => (None, Some(format!("{err:#}"))),
        };
        say(&serde_json::to_string(&Response { id: request.id, err_msg, output })?)?;
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush().context("stdout")
}

fn answer(typ: &PoStType, task: Task) -> Result<Output> {
    let (kind, sector_size, api) = parse_proof_type(&task.proof_type)?;
    let cfg = config(kind, sector_size, api, 0)?;
    ensure!(cfg.typ == *typ, "proof type {} at the wrong stage", task.proof_type);
    let sectors = task
        .replicas
        .into_iter()
        .map(|r| Sector { number: r.sector_id, comm_r: r.comm_r, cache_dir: r.cache_dir, replica: r.sealed_file })
        .collect();
    let proven = prove(Call {
        config: cfg,
        randomness: task.seed,
        prover_id: prover_id(task.miner_id),
        sectors,
        vanilla_only: false,
        single_partitions: false,
    })?;
    let proofs = if proven.proof.is_empty() { vec![] } else { vec![STANDARD.encode(proven.proof)] };
    Ok(Output { proofs, faults: proven.faults })
}

/// Reads names like StackedDrgWindow32GiBV1_2 into kind, sector size and api version.
fn parse_proof_type(name: &str) -> Result<(&'static str, u64, &'static str)> {
    let rest = name.strip_prefix("StackedDrg").with_context(|| format!("unknown proof type {name}"))?;
    let (kind, rest) = match (rest.strip_prefix("Window"), rest.strip_prefix("Winning")) {
        (Some(r), _) => ("window", r),
        (_, Some(r)) => ("winning", r),
        _ => bail!("unknown proof type {name}"),
    };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let count: u64 = rest[..digits].parse().with_context(|| format!("unknown proof type {name}"))?;
    let (shift, version) = match &rest[digits..] {
        r if r.starts_with("KiB") => (10, &r[3..]),
        r if r.starts_with("MiB") => (20, &r[3..]),
        r if r.starts_with("GiB") => (30, &r[3..]),
        _ => bail!("unknown proof type {name}"),
    };
    let api = match version {
        "V1" => "1.0",
        "V1_2" | "V1_1" if kind == "window" => "1.2",
        _ => bail!("unknown proof type {name}"),
    };
    Ok((kind, count << shift, api))
}
