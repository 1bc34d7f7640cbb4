package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/sectorfile"
	"wdpost/internal/task"
	"wdpost/proofs"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// proofFile is the JSON form of one proof call, as `util post` reads and writes
// it. Byte strings are hex; field elements little-endian.
type proofFile struct {
	Type                string         `json:"type"`        // window or winning
	SectorSize          uint64         `json:"sector_size"` // bytes
	SectorsPerPartition int            `json:"sectors_per_partition"`
	ChallengeCount      int            `json:"challenge_count"`
	APIVersion          string         `json:"api_version"`
	Miner               uint64         `json:"miner"`
	ProverID            string         `json:"prover_id"`
	Randomness          string         `json:"randomness"`
	Sectors             []provenSector `json:"sectors"` // for winning the chosen one
	Winning             *winningChoice `json:"winning,omitempty"`
	Proof               string         `json:"proof"` // 192 bytes for each partition
	Verified            bool           `json:"verified"`
	TimingMs            map[string]int `json:"timing_ms,omitempty"`
}

type provenSector struct {
	Number        uint64   `json:"number"`
	CommR         string   `json:"comm_r"`
	Challenges    []uint64 `json:"challenges"`
	Vanilla       string   `json:"vanilla,omitempty"`
	VanillaLen    int      `json:"vanilla_len,omitempty"`
	VanillaSHA256 string   `json:"vanilla_sha256,omitempty"`
}

type winningChoice struct {
	SectorSet         []uint64 `json:"sector_set"`
	ChallengedIndices []uint64 `json:"challenged_indices"`
}

func paramsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "params-dir", Usage: "folder of parameter files; default: FIL_PROOFS_PARAMETER_CACHE"},
		&cli.IntFlag{Name: "partition-sectors", Usage: "sectors of a window partition on a development network; default: the network's"},
	}
}

// keys opens the parameter files that the flags and the environment name.
func (a *app) keys(cmd *cli.Command) (*prover.Keys, error) {
	cfg, err := prover.KeyConfigFromEnv(a.getenv)
	if err != nil {
		return nil, err
	}
	if dir := cmd.String("params-dir"); dir != "" {
		// Whoever names a folder asks about its keys, not about a cache elsewhere.
		cfg.ParamsDir, cfg.RawDirs = dir, []string{dir}
	}
	cfg.Log = a.log
	return prover.NewKeys(cfg), nil
}

func (a *app) postProve() *cli.Command {
	return &cli.Command{
		Name:  "prove",
		Usage: "prove sectors of a folder and write the proof as JSON",
		Flags: append(paramsFlags(),
			&cli.StringFlag{Name: "type", Value: "window", Usage: "window or winning"},
			&cli.StringFlag{Name: "dir", Required: true, Usage: "folder above cache and sealed"},
			&cli.StringFlag{Name: "list", Required: true, Usage: "JSON file with sector_size and each sector's number and comm_r"},
			&cli.StringFlag{Name: "numbers", Usage: "only these sectors of the list, e.g. 1,2; default: all"},
			&cli.StringFlag{Name: "miner", Required: true, Usage: "e.g. 1008 or t01008"},
			&cli.StringFlag{Name: "randomness", Required: true, Usage: "32 bytes in hex"},
			&cli.StringFlag{Name: "api", Usage: "1.0, 1.1 or 1.2: how challenges are drawn; default: 1.2 for window, 1.0 for winning"},
			&cli.StringFlag{Name: "out", Required: true, Usage: "file to write"},
		),
		Action: a.prove,
	}
}

func (a *app) prove(ctx context.Context, cmd *cli.Command) error {
	statement, set, err := statementFromFlags(cmd)
	if err != nil {
		return err
	}
	miner, err := parseMiner(cmd.String("miner"))
	if err != nil {
		return err
	}
	out := newProofFile(statement, miner)
	if statement.Type.IsWinning() {
		if out.Winning, err = chooseWinner(statement, miner, set); err != nil {
			return err
		}
	}
	if err := statement.Validate(); err != nil {
		return err
	}
	keys, err := a.keys(cmd)
	if err != nil {
		return err
	}
	proof, vanilla, timing, err := a.makeProof(ctx, keys, statement, cmd.String("dir"), miner)
	if err := errors.Join(err, keys.Close()); err != nil {
		return err
	}
	if err := out.fill(statement, vanilla); err != nil {
		return err
	}
	out.Proof, out.Verified, out.TimingMs = hex.EncodeToString(proof), true, timing
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the proof: %w", err)
	}
	if err := os.WriteFile(cmd.String("out"), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the proof: %w", err)
	}
	fmt.Fprintf(a.stdout, "%s proof of %d sectors, %d bytes, verified: %s\n", out.Type, len(statement.Sectors), len(proof), cmd.String("out"))
	return nil
}

// statementFromFlags is the claim over all selected sectors; for winning the
// choice among them is still to be made.
func statementFromFlags(cmd *cli.Command) (statement *post.Statement, set []uint64, err error) {
	kind, err := post.ParseKind(cmd.String("type"))
	if err != nil {
		return nil, nil, err
	}
	version := post.V1_2_0
	if kind == post.Winning {
		version = post.V1_0_0
	}
	if api := cmd.String("api"); api != "" {
		if version, err = post.ParseAPIVersion(api); err != nil {
			return nil, nil, err
		}
	}
	list, err := sectorfile.ReadList(cmd.String("list"))
	if err != nil {
		return nil, nil, err
	}
	typ, err := post.TypeOf(kind, list.SectorSize, version)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", cmd.String("list"), err)
	}
	randomness, err := hex32("--randomness", cmd.String("randomness"))
	if err != nil {
		return nil, nil, err
	}
	wanted, err := parseNumbers(cmd.String("numbers"))
	if err != nil {
		return nil, nil, err
	}
	statement = &post.Statement{Type: typ, Setup: setupOf(typ, cmd.Int("partition-sectors")), Randomness: post.MaskRandomness(randomness)}
	for _, s := range list.Sectors {
		if wanted != nil && !slices.Contains(wanted, s.Number) {
			continue
		}
		statement.Sectors = append(statement.Sectors, post.Sector{Number: s.Number, CommR: s.CommR})
	}
	for _, s := range statement.Sectors {
		set = append(set, s.Number)
	}
	for _, n := range wanted {
		if !slices.Contains(set, n) {
			return nil, nil, fmt.Errorf("sector %d of --numbers is not in %s", n, cmd.String("list"))
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
func chooseWinner(statement *post.Statement, miner uint64, set []uint64) (*winningChoice, error) {
	if len(set) == 0 {
		return nil, post.ErrNoSectors
	}
	i, err := post.WinningSector(post.ProverID(miner), statement.Randomness, uint64(len(set)))
	if err != nil {
		return nil, err
	}
	statement.Sectors = statement.Sectors[i : i+1]
	return &winningChoice{SectorSet: set, ChallengedIndices: []uint64{i}}, nil
}

// makeProof reads the sectors of a folder, proves them and checks the proof.
func (a *app) makeProof(ctx context.Context, keys *prover.Keys, statement *post.Statement, dir string, miner uint64) ([]byte, []*post.Vanilla, map[string]int, error) {
	timing := map[string]int{}
	start := time.Now()
	lap := func(step string) { timing[step] = int(time.Since(start).Milliseconds()); start = time.Now() }

	reader := sector.NewReader(sector.NewGuard(sector.GuardConfig{}))
	vanilla := make([]*post.Vanilla, len(statement.Sectors))
	for i, s := range statement.Sectors {
		name := sector.ID{Miner: miner, Number: s.Number}.String()
		v, err := reader.ReadVanilla(ctx, statement.Type.SectorSize(), task.Replica{
			SectorID: s.Number, CommR: s.CommR,
			SealedFile: filepath.Join(dir, "sealed", name), CacheDir: filepath.Join(dir, "cache", name),
		}, statement.Challenges(i))
		if err != nil {
			return nil, nil, nil, err
		}
		vanilla[i] = v
	}
	lap("vanilla")
	key, err := keys.Proving(ctx, statement.Setup)
	if err != nil {
		return nil, nil, nil, err
	}
	lap("key")
	a.log.Info("proving", "type", statement.Type.String(), "sectors", len(statement.Sectors), "partitions", statement.Partitions())
	proof, err := proofs.New().Prove(key.ProvingKey, &proofs.Task{Statement: statement, Vanilla: vanilla},
		proofs.ProveConfig{Workers: runtime.GOMAXPROCS(0), Done: ctx.Done()})
	if err != nil {
		return nil, nil, nil, err
	}
	lap("prove")
	if err := checkProof(ctx, keys, statement, proof); err != nil {
		return nil, nil, nil, fmt.Errorf("the proof just made: %w", err)
	}
	lap("verify")
	return proof, vanilla, timing, nil
}

// checkProof verifies a proof with the verifying key of its circuit.
func checkProof(ctx context.Context, keys *prover.Keys, statement *post.Statement, proof []byte) error {
	partitionSectors := 0
	if !statement.Type.IsWinning() {
		partitionSectors = statement.Setup.Sectors
	}
	return prover.NewVerifier(keys, partitionSectors).VerifyAll(ctx, []prover.Claim{{
		Type: statement.Type, Randomness: statement.Randomness, Sectors: statement.Sectors, Proof: proof,
	}})[0]
}

func newProofFile(statement *post.Statement, miner uint64) *proofFile {
	proverID := post.ProverID(miner)
	setup := statement.Setup
	f := &proofFile{
		Type: statement.Type.Kind().String(), SectorSize: statement.Type.SectorSize(),
		SectorsPerPartition: setup.Sectors, ChallengeCount: setup.Challenges,
		APIVersion: statement.Type.APIVersion().String(),
		Miner:      miner, ProverID: hex.EncodeToString(proverID[:]), Randomness: hex.EncodeToString(statement.Randomness[:]),
	}
	if statement.Type.IsWinning() { // one sector, opened once for each block of the circuit
		f.SectorsPerPartition, f.ChallengeCount = 1, setup.Sectors*setup.Challenges
	}
	return f
}

// fill adds the sectors and their vanilla proofs.
func (f *proofFile) fill(statement *post.Statement, vanilla []*post.Vanilla) error {
	shape, err := merkle.ShapeOf(f.SectorSize)
	if err != nil {
		return err
	}
	for i, s := range statement.Sectors {
		encoded := vanilla[i].Encode(shape)
		sum := sha256.Sum256(encoded)
		f.Sectors = append(f.Sectors, provenSector{
			Number: s.Number, CommR: hex.EncodeToString(s.CommR[:]), Challenges: statement.Challenges(i),
			Vanilla: hex.EncodeToString(encoded), VanillaLen: len(encoded), VanillaSHA256: hex.EncodeToString(sum[:]),
		})
	}
	return nil
}

func (a *app) postVerify() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "verify a proof in a JSON file",
		Flags: append(paramsFlags(), &cli.StringFlag{Name: "in", Required: true, Usage: "file written by prove, or of the same form"}),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			var f proofFile
			if err := readJSON(cmd.String("in"), &f); err != nil {
				return err
			}
			statement, proof, err := f.claim()
			if err != nil {
				return fmt.Errorf("%s: %w", cmd.String("in"), err)
			}
			keys, err := a.keys(cmd)
			if err != nil {
				return err
			}
			err = errors.Join(checkProof(ctx, keys, statement, proof), keys.Close())
			if err != nil {
				return fmt.Errorf("%s: %w", cmd.String("in"), err)
			}
			fmt.Fprintf(a.stdout, "valid %s proof of %d sectors of miner %d\n", f.Type, len(statement.Sectors), f.Miner)
			return nil
		},
	}
}

// claim is what a proof file says that its proof proves.
func (f *proofFile) claim() (*post.Statement, []byte, error) {
	kind, err := post.ParseKind(f.Type)
	if err != nil {
		return nil, nil, err
	}
	version, err := post.ParseAPIVersion(f.APIVersion)
	if err != nil {
		return nil, nil, err
	}
	typ, err := post.TypeOf(kind, f.SectorSize, version)
	if err != nil {
		return nil, nil, err
	}
	randomness, err := hex32("randomness", f.Randomness)
	if err != nil {
		return nil, nil, err
	}
	statement := &post.Statement{Type: typ, Setup: setupOf(typ, f.SectorsPerPartition), Randomness: post.MaskRandomness(randomness)}
	for _, s := range f.Sectors {
		commR, err := hex32(fmt.Sprintf("comm_r of sector %d", s.Number), s.CommR)
		if err != nil {
			return nil, nil, err
		}
		statement.Sectors = append(statement.Sectors, post.Sector{Number: s.Number, CommR: commR})
	}
	if w := f.Winning; w != nil && kind == post.Winning {
		if err := f.checkChoice(statement); err != nil {
			return nil, nil, err
		}
	}
	proof, err := hex.DecodeString(f.Proof)
	if err != nil || len(proof) == 0 {
		return nil, nil, fmt.Errorf("proof: expected hex, 192 bytes for each partition")
	}
	return statement, proof, nil
}

// checkChoice holds the sector of a winning proof against what the randomness
// draws from the set.
func (f *proofFile) checkChoice(statement *post.Statement) error {
	set := f.Winning.SectorSet
	if len(set) == 0 || len(statement.Sectors) != 1 {
		return fmt.Errorf("winning: want a sector_set and one sector, have %d and %d", len(set), len(statement.Sectors))
	}
	i, err := post.WinningSector(post.ProverID(f.Miner), statement.Randomness, uint64(len(set)))
	if err != nil {
		return err
	}
	if set[i] != statement.Sectors[0].Number {
		return fmt.Errorf("winning: the randomness draws sector %d of the set, the proof is of sector %d", set[i], statement.Sectors[0].Number)
	}
	return nil
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func hex32(what, s string) (out [32]byte, err error) {
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(b) != len(out) {
		return out, fmt.Errorf("%s: %q is not 32 bytes in hex (64 digits)", what, s)
	}
	return [32]byte(b), nil
}

// parseNumbers reads "1,2,5"; nil for the empty text.
func parseNumbers(s string) ([]uint64, error) {
	if s == "" {
		return nil, nil
	}
	var out []uint64
	for _, part := range strings.Split(s, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(part), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("--numbers %q: write it like 1,2,5", s)
		}
		out = append(out, n)
	}
	return out, nil
}
