package simchain

import (
	"bytes"
	"fmt"

	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
	"golang.org/x/crypto/blake2b"

	"wdpost/internal/lotus"
)

// MessageCid is the CID of an unsigned message: dag-cbor, blake2b-256, over the
// tuple of its ten fields. A message signed with BLS has the same CID.
func MessageCid(m *lotus.Message) (cid.Cid, error) {
	var b bytes.Buffer
	if err := encodeMessage(&b, m); err != nil {
		return cid.Undef, fmt.Errorf("encoding message from %s nonce %d: %w", m.From, m.Nonce, err)
	}
	return cborCid(b.Bytes()), nil
}

func encodeMessage(b *bytes.Buffer, m *lotus.Message) error {
	w := cbg.NewCborWriter(b)
	if err := w.WriteMajorTypeHeader(cbg.MajArray, 10); err != nil {
		return err
	}
	if err := w.WriteMajorTypeHeader(cbg.MajUnsignedInt, m.Version); err != nil {
		return err
	}
	if err := m.To.MarshalCBOR(b); err != nil {
		return fmt.Errorf("field To: %w", err)
	}
	if err := m.From.MarshalCBOR(b); err != nil {
		return fmt.Errorf("field From: %w", err)
	}
	if err := w.WriteMajorTypeHeader(cbg.MajUnsignedInt, m.Nonce); err != nil {
		return err
	}
	if err := m.Value.MarshalCBOR(b); err != nil {
		return fmt.Errorf("field Value: %w", err)
	}
	if m.GasLimit < 0 {
		return fmt.Errorf("GasLimit %d is negative", m.GasLimit)
	}
	if err := w.WriteMajorTypeHeader(cbg.MajUnsignedInt, uint64(m.GasLimit)); err != nil {
		return err
	}
	if err := m.GasFeeCap.MarshalCBOR(b); err != nil {
		return fmt.Errorf("GasFeeCap: %w", err)
	}
	if err := m.GasPremium.MarshalCBOR(b); err != nil {
		return fmt.Errorf("GasPremium: %w", err)
	}
	if err := w.WriteMajorTypeHeader(cbg.MajUnsignedInt, uint64(m.Method)); err != nil {
		return err
	}
	return cbg.WriteByteArray(b, m.Params)
}

// sign returns the message with a signature that has the form of a BLS one and
// proves nothing: every key of this chain is its own.
func sign(m lotus.Message) (*lotus.SignedMessage, error) {
	m.CID = nil
	c, err := MessageCid(&m)
	if err != nil {
		return nil, err
	}
	m.CID = &c
	return &lotus.SignedMessage{
		Message:   m,
		Signature: crypto.Signature{Type: crypto.SigTypeBLS, Data: pseudo(96, "signature", c.Bytes())},
		CID:       &c,
	}, nil
}

// cidHeader begins every CID here: version 1, dag-cbor, blake2b-256, 32 bytes.
var cidHeader = [...]byte{0x01, 0x71, 0xa0, 0xe4, 0x02, 0x20}

// cborCid is the dag-cbor CID with the blake2b-256 digest of data.
func cborCid(data []byte) cid.Cid {
	d := blake2b.Sum256(data)
	c, err := cid.Cast(append(cidHeader[:], d[:]...))
	if err != nil {
		panic(fmt.Sprintf("CID of a 32-byte digest: %v", err)) // the form is constant
	}
	return c
}

// pseudo derives n bytes from a label and data.
func pseudo(n int, label string, data ...[]byte) []byte {
	x, err := blake2b.NewXOF(uint32(n), nil)
	if err != nil {
		panic(fmt.Sprintf("blake2b XOF of %d bytes: %v", n, err)) // only for sizes out of range
	}
	x.Write([]byte(label))
	for _, d := range data {
		x.Write([]byte{0})
		x.Write(d)
	}
	out := make([]byte, n)
	if _, err := x.Read(out); err != nil {
		panic(fmt.Sprintf("blake2b XOF: %v", err)) // only past the declared size
	}
	return out
}
