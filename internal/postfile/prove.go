package postfile

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store/reach"
	"wdpost/internal/sectorfile"
	"wdpost/internal/task"
	"wdpost/proofs"
	"wdpost/proofs/post"
)

// Request says what to prove.
type Request struct {
	Kind             post.Kind
	API              string // 1.0, 1.1 or 1.2: how challenges are drawn; empty: the kind's usual one
	Dir              string // folder above cache and sealed
	List             string // JSON file with the sectors' numbers and comm_r
	Numbers          []uint64
	Miner            uint64
	Randomness       [32]byte // not yet masked
	PartitionSectors int      // of a development network; 0: the network's
	Log              *slog.Logger
}

// Prove reads the sectors, proves them, checks the proof and returns all of it.
func Prove(ctx context.Context, keys *prover.Keys, r Request) (*File, error) {
	statement, set, err := r.statement()
	if err != nil {
		return nil, err
	}
	out := newFile(statement, r.Miner)
	if statement.Type.IsWinning() {
		if out.Winning, err = chooseWinner(statement, r.Miner, set); err != nil {
			return nil, err
		}
	}
	if err := statement.Validate(); err != nil {
		return nil, err
	}
	if err := r.prove(ctx, keys, statement, out); err != nil {
		return nil, err
	}
	return out, nil
}

// statement is the claim over all selected sectors; for winning the choice among
// them is still to be made.
func (r Request) statement() (statement *post.Statement, set []uint64, err error) {
	version := post.V1_2_0
	if r.Kind == post.Winning {
		version = post.V1_0_0
	}
	if r.API != "" {
		if version, err = post.ParseAPIVersion(r.API); err != nil {
			return nil, nil, err
		}
	}
	list, err := sectorfile.ReadList(r.List)
	if err != nil {
		return nil, nil, err
	}
	typ, err := post.TypeOf(r.Kind, list.SectorSize, version)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.List, err)
	}
	statement = &post.Statement{Type: typ, Setup: setupOf(typ, r.PartitionSectors), Randomness: post.MaskRandomness(r.Randomness)}
	for _, s := range list.Sectors {
		if r.Numbers == nil || slices.Contains(r.Numbers, s.Number) {
			statement.Sectors = append(statement.Sectors, post.Sector{Number: s.Number, CommR: s.CommR})
			set = append(set, s.Number)
		}
	}
	for _, n := range r.Numbers {
		if !slices.Contains(set, n) {
			return nil, nil, fmt.Errorf("sector %d of --numbers is not in %s", n, r.List)
		}
	}
	return statement, set, nil
}

func setupOf(typ post.ProofType, partitionSectors int) post.Setup {
	if partitionSectors > 0 && !typ.IsWinning() {
		return typ.Setup().WithSectors(partitionSectors)
	}
	return typ.Setup()
}

// chooseWinner reduces the statement to the sector that the randomness draws.
func chooseWinner(statement *post.Statement, miner uint64, set []uint64) (*Winning, error) {
	if len(set) == 0 {
		return nil, post.ErrNoSectors
	}
	i, err := post.WinningSector(post.ProverID(miner), statement.Randomness, uint64(len(set)))
	if err != nil {
		return nil, err
	}
	statement.Sectors = statement.Sectors[i : i+1]
	return &Winning{SectorSet: set, ChallengedIndices: []uint64{i}}, nil
}

// prove fills out with the vanilla proofs, the proof, checked, and how long each
// step took.
func (r Request) prove(ctx context.Context, keys *prover.Keys, statement *post.Statement, out *File) error {
	out.TimingMs = map[string]int{}
	start := time.Now()
	lap := func(step string) {
		out.TimingMs[step] = int(time.Since(start).Milliseconds())
		start = time.Now()
	}
	vanilla, err := r.read(ctx, statement)
	if err != nil {
		return err
	}
	lap("vanilla")
	key, err := keys.Proving(ctx, statement.Setup)
	if err != nil {
		return err
	}
	lap("key")
	r.Log.Info("proving", attr.ProofType(statement.Type.String()), attr.SectorCount(len(statement.Sectors)), attr.PartitionCount(statement.Partitions()))
	proof, err := proofs.New().Prove(key.ProvingKey, &proofs.Task{Statement: statement, Vanilla: vanilla},
		proofs.ProveConfig{Workers: runtime.GOMAXPROCS(0), Done: ctx.Done()})
	if err != nil {
		return err
	}
	lap("prove")
	if err := Check(ctx, keys, statement, proof); err != nil {
		return fmt.Errorf("the proof just made: %w", err)
	}
	lap("verify")
	out.Proof, out.Verified = hex.EncodeToString(proof), true
	return out.fill(statement, vanilla)
}

// read reads the challenged leaves of every sector.
func (r Request) read(ctx context.Context, statement *post.Statement) ([]*post.Vanilla, error) {
	files := reach.New(r.Log)
	defer files.Close()
	reader := sector.NewReader(sector.NewGuard(sector.GuardConfig{Backend: files}))
	vanilla := make([]*post.Vanilla, len(statement.Sectors))
	for i, s := range statement.Sectors {
		sealed, cache := sector.Files(r.Dir, sector.ID{Miner: r.Miner, Number: s.Number}, false)
		v, err := reader.ReadVanilla(ctx, statement.Type.SectorSize(), task.Replica{
			SectorID: s.Number, CommR: s.CommR,
			SealedFile: sealed, CacheDir: cache,
		}, statement.Challenges(i))
		if err != nil {
			return nil, err
		}
		vanilla[i] = v
	}
	return vanilla, nil
}

// Check verifies a proof with the verifying key of its circuit.
func Check(ctx context.Context, keys *prover.Keys, statement *post.Statement, proof []byte) error {
	partitionSectors := 0
	if !statement.Type.IsWinning() {
		partitionSectors = statement.Setup.Sectors
	}
	return prover.NewVerifier(keys, partitionSectors).VerifyAll(ctx, []prover.Claim{{
		Type: statement.Type, Randomness: statement.Randomness, Sectors: statement.Sectors, Proof: proof,
	}})[0]
}
