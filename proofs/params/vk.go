package params

import (
	"encoding/binary"
	"fmt"

	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// ParseVK reads a whole .vk file of a circuit. Every
// point must be finite, on its curve and in its subgroup. The content of such
// a file is that of groth16.VerifyingKey's binary form. Spec section 8.1.
func ParseVK(b []byte, s post.Setup) (*groth16.VerifyingKey, error) {
	inputs := CountsOf(s).IC
	switch have, want := uint64(len(b)), VKBytes(s); {
	case have < vkHeadSize+lengthPrefix:
		return nil, fmt.Errorf("verifying key: %w: %d bytes of %d", ErrTruncated, have, want)
	case uint64(binary.BigEndian.Uint32(b[vkHeadSize:])) != inputs:
		return nil, fmt.Errorf("verifying key: %w: ic has %d points, the circuit %d inputs",
			ErrCount, binary.BigEndian.Uint32(b[vkHeadSize:]), inputs)
	case have < want:
		return nil, fmt.Errorf("verifying key: %w: %d bytes of %d", ErrTruncated, have, want)
	case have > want:
		return nil, fmt.Errorf("verifying key: %w: %d bytes, expected %d", ErrTrailing, have, want)
	}
	vk := new(groth16.VerifyingKey)
	if err := vk.UnmarshalBinary(b); err != nil {
		return nil, fmt.Errorf("verifying key: %w", err)
	}
	return vk, nil
}
