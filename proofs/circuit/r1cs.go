package circuit

import (
	"encoding/binary"
	"io"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// WriteR1CS writes the whole constraint system as bytes, the form whose SHA-256
// identifies a circuit (spec 6.6): for each constraint the three linear
// combinations; for each of them u32le terms, and for each term u8 kind (0
// input, 1 auxiliary), u32le index in the system, 32-byte little-endian
// coefficient. It holds one constraint at a time.
func (c *Circuit) WriteR1CS(w io.Writer) error {
	coefficients := make([][fr.Bytes]byte, len(c.dict.values))
	for i := range coefficients {
		coefficients[i] = c.dict.values[i].Bytes()
		slices.Reverse(coefficients[i][:])
	}
	var line []byte
	for block := range c.config.Sectors {
		for i := range c.Constraints() {
			line = line[:0]
			for _, m := range []*rows{&c.a, &c.b, &c.c} {
				variables, ids := m.row(i)
				line = binary.LittleEndian.AppendUint32(line, uint32(len(variables)))
				for k, v := range variables {
					kind, index := c.global(block, v)
					line = append(line, kind)
					line = binary.LittleEndian.AppendUint32(line, index)
					line = append(line, coefficients[ids[k]][:]...)
				}
			}
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// global numbers a variable of a block in the whole system.
func (c *Circuit) global(block int, v uint32) (kind byte, index uint32) {
	switch {
	case v == one:
		return 0, 0
	case int(v) <= c.inputs:
		return 0, uint32(block*c.inputs) + v
	}
	return 1, uint32(block*c.aux) + v - uint32(c.inputs) - 1
}
