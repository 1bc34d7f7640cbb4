package params

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/blake2b"

	"wdpost/proofs/post"
)

// Digest is what the network's parameters.json says of a file: the first 16
// bytes of the BLAKE2b-512 of its content.
type Digest [16]byte

// String is the 32 hex digits of parameters.json.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ErrDigest means that a file is not the published one.
var ErrDigest = errors.New("not the published file: digest differs")

// Hasher computes the Digest of what is written to it.
type Hasher struct{ hash.Hash }

// NewHasher returns a Hasher that has seen nothing yet.
func NewHasher() Hasher {
	h, err := blake2b.New512(nil)
	if err != nil {
		panic("blake2b-512 without a key cannot fail: " + err.Error())
	}
	return Hasher{h}
}

// Digest returns the digest of what was written so far.
func (h Hasher) Digest() Digest { return Digest(h.Sum(nil)[:len(Digest{})]) }

// File is one file of the network's parameters.json.
type File struct {
	Digest Digest
	CID    string // IPFS content id under which the network serves it
}

// Check compares the digest of a file at hand with the published one.
func (f File) Check(got Digest) error {
	if f.Digest != got {
		return fmt.Errorf("%w: have %s, published %s", ErrDigest, got, f.Digest)
	}
	return nil
}

// Published is one key of the network's trusted setup.
type Published struct {
	Setup  post.Setup
	Params File
	VK     File
}

// LookupPublished finds the published key of a circuit. The network published
// none for 4 KiB, 16 KiB, 32 KiB, 16 MiB and 1 GiB sectors, nor for other
// partition sizes than its own. Spec section 8.3.
func LookupPublished(s post.Setup) (Published, bool) {
	for _, p := range published() {
		if p.Setup == s {
			return p, true
		}
	}
	return Published{}, false
}

// published is the PoSt part of parameters.json.
func published() []Published {
	return []Published{
		{post.Winning2KiB.Setup(), File{digest("82c88066be968bb550a05e30ff6c2413"), "QmcSTqDcFVLGGVYz1njhUZ7B6fkKtBumsLUwx4nkh22TzS"}, File{digest("ffd79788d614d27919ae5bd2d94eacb6"), "QmSTCXF2ipGA3f6muVo6kHc2URSx6PzZxGUqu7uykaH5KU"}},
		{post.Window2KiBV1_1.Setup(), File{digest("7610b9f82bfc88405b7a832b651ce2f6"), "QmVxjFRyhmyQaZEtCh7nk2abc7LhFkzhnRX4rcHqCCpikR"}, File{digest("0e0958009936b9d5e515ec97b8cb792d"), "QmcS5JZs8X3TdtkEBpHAdUYjdNDqcL7fWQFtQz69mpnu2X"}},
		{post.Winning8MiB.Setup(), File{digest("700171ecf7334e3199437c930676af82"), "QmU9SBzJNrcjRFDiFc4GcApqdApN6z9X7MpUr66mJ2kAJP"}, File{digest("79ebb55f56fda427743e35053edad8fc"), "QmbmUMa3TbbW3X5kFhExs6WgC4KeWT18YivaVmXDkB6ANG"}},
		{post.Window8MiBV1_1.Setup(), File{digest("c49499bb76a0762884896f9683403f55"), "QmdNEL2RtqL52GQNuj8uz6mVj5Z34NVnbaJ1yMyh1oXtBx"}, File{digest("34d4feeacd9abf788d69ef1bb4d8fd00"), "QmUiVYCQUgr6Y13pZFr8acWpSM4xvTXUdcvGmxyuHbKhsc"}},
		{post.Winning512MiB.Setup(), File{digest("827359440349fe8f5a016e7598993b79"), "QmVgCsJFRXKLuuUhT3aMYwKVGNA9rDeR6DCrs7cAe8riBT"}, File{digest("bd2cd62f65c1ab84f19ca27e97b7c731"), "QmfA31fbCWojSmhSGvvfxmxaYCpMoXP95zEQ9sLvBGHNaN"}},
		{post.Window512MiBV1_1.Setup(), File{digest("1a7d4a9c8a502a497ed92a54366af33f"), "QmUiRx71uxfmUE8V3H9sWAsAXoM88KR4eo1ByvvcFNeTLR"}, File{digest("4dae975de4f011f101f5a2f86d1daaba"), "QmfCeddjFpWtavzfEzZpJfzSajGNwfL4RjFXWAvA9TSnTV"}},
		{post.Winning32GiB.Setup(), File{digest("d84f79a16fe40e9e25a36e2107bb1ba0"), "Qmdtczp7p4wrbDofmHdGhiixn9irAcN77mV9AEHZBaTt1i"}, File{digest("fc02943678dd119e69e7fab8420e8819"), "QmZCvxKcKP97vDAk8Nxs9R1fWtqpjQrAhhfXPoCi1nkDoF"}},
		{post.Window32GiBV1_1.Setup(), File{digest("2cf49eb26f1fee94c85781a390ddb4c8"), "QmaUmfcJt6pozn8ndq1JVBzLRjRJdHMTPd4foa8iw5sjBZ"}, File{digest("0f8ec542485568fa3468c066e9fed82b"), "QmR9i9KL3vhhAqTBGj1bPPC7LvkptxrH9RvxJxLN1vvsBE"}},
		{post.Winning64GiB.Setup(), File{digest("2170a91ad5bae22ea61f2ea766630322"), "QmVkrXc1SLcpgcudK5J25HH93QvR9tNsVhVTYHm5UymXAz"}, File{digest("6d3789148fb6466d07ee1e24d6292fd6"), "QmbfQjPD7EpzjhWGmvWAsyN2mAZ4PcYhsf3ujuhU9CSuBm"}},
		{post.Window64GiBV1_1.Setup(), File{digest("3810b7780ac0e299b22ae70f1f94c9bc"), "QmeAN4vuANhXsF8xP2Lx5j2L6yMSdogLzpcvqCJThRGK1V"}, File{digest("59d2bf1857adc59a4f08fcf2afaa916b"), "QmWV8rqZLxs1oQN9jxNWmnT1YdgLwCcscv94VARrhHf1T7"}},
	}
}

// digest reads the digests of the table above, which are constants.
func digest(text string) Digest {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic("digest table: " + err.Error())
	}
	return Digest(b)
}
