package inspect

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/history"
	"wdpost/internal/lotus"
	"wdpost/internal/sector"
)

// answers is a node that knows one miner: five sectors in deadlines 0 and 1, one
// of them faulty and declared recovered.
type answers struct {
	Chain // what is not asked
	fail  string
}

var errNode = errors.New("the node is away")

func (a answers) err(method string) error {
	if a.fail == method {
		return errNode
	}
	return nil
}

func (a answers) ChainHead(context.Context) (*lotus.TipSet, error) {
	return &lotus.TipSet{Height: 3000, Blocks: []*lotus.BlockHeader{{Timestamp: 90_000}}}, a.err("head")
}
func (a answers) StateGetNetworkParams(context.Context) (*lotus.NetworkParams, error) {
	return &lotus.NetworkParams{BlockDelaySecs: 30}, a.err("params")
}
func (a answers) StateMinerInfo(context.Context, address.Address, lotus.TipSetKey) (*lotus.MinerInfo, error) {
	id := func(n uint64) address.Address { a, _ := address.NewIDAddress(n); return a } // numbers of a test
	return &lotus.MinerInfo{Owner: id(100), Worker: id(101), ControlAddresses: []address.Address{id(101), id(102)}, SectorSize: 32 << 30}, a.err("info")
}
func (a answers) StateMinerProvingDeadline(context.Context, address.Address, lotus.TipSetKey) (*dline.Info, error) {
	return dline.NewInfo(2970, 0, 3000, 48, 2880, 60, 20, 70), a.err("deadline")
}
func (a answers) StateMinerDeadlines(context.Context, address.Address, lotus.TipSetKey) ([]lotus.Deadline, error) {
	return []lotus.Deadline{{PostSubmissions: bitfield.NewFromSet([]uint64{0})}, {PostSubmissions: bitfield.New()}}, a.err("deadlines")
}
func (a answers) StateMinerPartitions(_ context.Context, _ address.Address, index uint64, _ lotus.TipSetKey) ([]lotus.Partition, error) {
	part := func(faulty []uint64, all ...uint64) lotus.Partition {
		bits := bitfield.NewFromSet(all)
		return lotus.Partition{AllSectors: bits, LiveSectors: bits, ActiveSectors: bits, FaultySectors: bitfield.NewFromSet(faulty), RecoveringSectors: bitfield.NewFromSet(faulty)}
	}
	switch index {
	case 0:
		return []lotus.Partition{part(nil, 1, 2, 3)}, a.err("partitions")
	case 1:
		return []lotus.Partition{part([]uint64{5}, 4, 5)}, a.err("partitions")
	}
	return nil, a.err("partitions")
}
func (a answers) StateMinerSectors(_ context.Context, _ address.Address, bits *bitfield.BitField, _ lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	numbers, err := bits.All(100)
	list := []*lotus.SectorOnChainInfo{nil} // as a node under trouble answers
	for _, n := range numbers {
		sealed, err := commcid.ReplicaCommitmentV1ToCID(make([]byte, 32))
		if err != nil {
			return nil, err
		}
		list = append(list, &lotus.SectorOnChainInfo{SectorNumber: abi.SectorNumber(n), SealedCID: sealed, Expiration: 3000 + 2880})
	}
	return list, errors.Join(err, a.err("sectors"))
}
func (a answers) StateMinerFaults(context.Context, address.Address, lotus.TipSetKey) (bitfield.BitField, error) {
	return bitfield.NewFromSet([]uint64{5}), a.err("faults")
}
func (a answers) StateMinerRecoveries(context.Context, address.Address, lotus.TipSetKey) (bitfield.BitField, error) {
	return bitfield.NewFromSet([]uint64{5}), a.err("recoveries")
}
func (a answers) StateMinerPower(context.Context, address.Address, lotus.TipSetKey) (*lotus.MinerPower, error) {
	claim := lotus.Claim{RawBytePower: big.NewInt(5 << 35), QualityAdjPower: big.NewInt(6 << 35)}
	return &lotus.MinerPower{MinerPower: claim, TotalPower: claim, HasMinPower: true}, a.err("power")
}
func (a answers) StateMinerAvailableBalance(context.Context, address.Address, lotus.TipSetKey) (big.Int, error) {
	return big.NewInt(2e18), a.err("available")
}
func (a answers) StateSectorGetInfo(_ context.Context, _ address.Address, n abi.SectorNumber, _ lotus.TipSetKey) (*lotus.SectorOnChainInfo, error) {
	if n > 5 {
		return nil, nil
	}
	bits := bitfield.NewFromSet([]uint64{uint64(n)})
	list, err := a.StateMinerSectors(context.Background(), address.Undef, &bits, lotus.TipSetKey{})
	return list[1], err
}
func (a answers) StateSectorPartition(context.Context, address.Address, abi.SectorNumber, lotus.TipSetKey) (*lotus.SectorLocation, error) {
	return &lotus.SectorLocation{Deadline: 1}, a.err("location")
}
func (a answers) StateLookupID(_ context.Context, addr address.Address, _ lotus.TipSetKey) (address.Address, error) {
	return addr, nil
}
func (a answers) StateGetActor(_ context.Context, addr address.Address, _ lotus.TipSetKey) (*lotus.Actor, error) {
	if strings.HasSuffix(addr.String(), "0102") {
		return nil, errors.New("actor not found")
	}
	return &lotus.Actor{Balance: big.NewInt(3_500_000_000_000_000_000)}, a.err("actor")
}

func open(t *testing.T, a answers) *Miner {
	t.Helper()
	addr, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open(t.Context(), a, addr)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestTables prints everything once and looks for the facts, each in its line.
func TestTables(t *testing.T) {
	m := open(t, answers{})
	var b bytes.Buffer
	p := Printer{W: &b}
	info, err := m.Info(t.Context())
	check(t, err, p.Info(info))
	rows, err := m.Deadlines(t.Context(), false)
	check(t, err, p.Deadlines(info.Miner, rows))
	detail, err := m.Deadline(t.Context(), 1, true)
	check(t, err, p.Deadline(detail))
	faults, err := m.Faults(t.Context())
	check(t, err, p.Faults(info.Miner, faults))
	sectors, err := m.SectorInfos(t.Context(), []uint64{5, 77})
	check(t, err, p.SectorInfos(sectors))
	sender, err := address.NewIDAddress(101)
	check(t, err)
	overview, err := m.Overview(t.Context(), []address.Address{sender})
	check(t, err, p.Overview(overview))
	wanted, err := m.Wanted(t.Context(), 1)
	check(t, err)
	list := Check(t.Context(), lookAt{}, 1000, 1, wanted, true)
	check(t, p.Checked(list, true), p.Past([]history.Step{{Miner: 1000, Deadline: 3, Kind: "post", Verdict: "missed", Text: "no slave took the task", Took: time.Minute}}),
		p.Way([]history.Step{{What: "message_ended", Kind: "post", Partitions: "0", Message: "bafy1", ExitCode: 16, Gas: 2_300_000}}))

	text := strings.Join(strings.FieldsFunc(b.String(), func(r rune) bool { return r == ' ' }), " ")
	for _, want := range []string{
		"Faults: 1 (20.00%)", "Recovering: 1", "Deadline Index: 0", "Deadline Sectors: 3", "Deadline Close: 3030 (in 15m0s)",
		"deadline open partitions sectors (faults) proven partitions", "1 2 (1) 0", "1 3 (0) 1 (current)",
		"Faulty Sectors: 1 5", "All Sectors: 2 4-5", "1 0 5 (recovering) 5880 (1.0)", "Sector: 77\nError: " + info.Miner + " has no sector 77",
		"Available: 2 FIL", "Locked: 1.5 FIL", "worker,control", "3.5 FIL pays for WindowPoSt", "actor not found",
		"1 0 5 bad (no answer from /mnt)", "missed", "no slave took the task", "partitions [0], message bafy1, gas 2.3M, exit code 16",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "1 0 4 good") {
		t.Error("--only-bad shows a good sector")
	}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// lookAt finds sector 5 bad.
type lookAt struct{}

func (lookAt) Check(_ context.Context, _ uint64, wanted []sector.Wanted, _ bool) []sector.Checked {
	list := make([]sector.Checked, len(wanted))
	for i, w := range wanted {
		if w.Number == 5 {
			list[i].Err = errors.New("no answer from /mnt")
		}
	}
	return list
}

// TestErrorsNameWhatFailed: whichever call fails, the command says which thing.
func TestErrorsNameWhatFailed(t *testing.T) {
	addr, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"head", "params", "deadline"} {
		if _, err := Open(t.Context(), answers{fail: method}, addr); !errors.Is(err, errNode) {
			t.Errorf("%s: %v", method, err)
		}
	}
	for method, ask := range map[string]func(*Miner) error{
		"partitions": func(m *Miner) error { _, err := m.Info(t.Context()); return err },
		"deadlines":  func(m *Miner) error { _, err := m.Deadlines(t.Context(), true); return err },
		"sectors":    func(m *Miner) error { _, err := m.Faults(t.Context()); return err },
		"faults":     func(m *Miner) error { _, err := m.SectorInfos(t.Context(), []uint64{1}); return err },
		"power":      func(m *Miner) error { _, err := m.Overview(t.Context(), nil); return err },
		"info":       func(m *Miner) error { _, err := m.Wanted(t.Context(), 0); return err },
	} {
		if err := ask(open(t, answers{fail: method})); !errors.Is(err, errNode) || len(err.Error()) < len(errNode.Error())+10 {
			t.Errorf("%s: %v", method, err)
		}
	}
	if _, err := open(t, answers{}).Deadline(t.Context(), 48, false); err == nil || !strings.Contains(err.Error(), "0 to 47") {
		t.Errorf("deadline 48: %v", err)
	}
}

func TestColourStaysOutOfThePipe(t *testing.T) {
	for colour, want := range map[bool]bool{false: false, true: true} {
		var b bytes.Buffer
		check(t, Printer{W: &b, Colour: colour}.Deadlines("t01000", []Row{{Deadline: 1, Current: true}, {Deadline: 2, Faults: 3}}))
		if got := strings.Contains(b.String(), "\x1b["); got != want {
			t.Errorf("colour %t: %q", colour, b.String())
		}
	}
}

func TestAmounts(t *testing.T) {
	for atto, want := range map[string]string{"0": "0 FIL", "1": "0 FIL", "1500000000000000000": "1.5 FIL", "-2000000000000000000": "-2 FIL", "20000000000": "0.00000002 FIL"} {
		if got := FIL(mustBig(atto)); got != want {
			t.Errorf("%s: %s, want %s", atto, got, want)
		}
	}
	if got := Bytes(big.NewInt(5 << 35)); got != "160 GiB" {
		t.Error(got)
	}
}
