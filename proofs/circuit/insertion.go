package circuit

// Slots are the named values of the insertion gadget of spec 6.3.
const (
	slotCur     = 0               // the node to insert: "a"
	slotSibling = 1               // its up to 7 siblings: "b" to "h"
	slotU       = slotSibling + 7 // the intermediate value
	slotOut     = slotU + 1       // the up to 8 results, p0 …
	slotBit     = slotOut + 8     // the up to 3 index bits, least significant first
	slotNor     = slotBit + 3     // neither b0 nor b1
	slotAnd     = slotNor + 1     // both b0 and b1
	slots       = slotAnd + 1
)

// choice is one conditional: to := when ? yes : no. It is one variable and the
// constraint (no − yes)·when = no − to.
type choice struct{ to, when, yes, no int }

// insertion is the gadget of one arity. decode says that nor and and are
// computed first.
type insertion struct {
	decode bool
	picks  []choice
}

// newInsertion returns the gadget for arity 2 or 8.
func newInsertion(arity int) *insertion {
	if arity == 2 {
		return &insertion{picks: []choice{
			{slotOut, slotBit, slotSibling, slotCur},
			{slotOut + 1, slotBit, slotCur, slotSibling},
		}}
	}
	return &insertion{decode: true, picks: []choice{
		{slotU, slotNor, slotCur, slotSibling},
		{slotOut, slotBit + 2, slotSibling, slotU},
		{slotU, slotBit, slotCur, slotSibling},
		{slotU, slotBit + 1, slotSibling + 1, slotU},
		{slotOut + 1, slotBit + 2, slotSibling + 1, slotU},
		{slotU, slotBit, slotSibling + 2, slotCur},
		{slotU, slotBit + 1, slotU, slotSibling + 1},
		{slotOut + 2, slotBit + 2, slotSibling + 2, slotU},
		{slotU, slotAnd, slotCur, slotSibling + 2},
		{slotOut + 3, slotBit + 2, slotSibling + 3, slotU},
		{slotU, slotNor, slotCur, slotSibling + 4},
		{slotOut + 4, slotBit + 2, slotU, slotSibling + 3},
		{slotU, slotBit, slotCur, slotSibling + 4},
		{slotU, slotBit + 1, slotSibling + 5, slotU},
		{slotOut + 5, slotBit + 2, slotU, slotSibling + 4},
		{slotU, slotBit, slotSibling + 6, slotCur},
		{slotU, slotBit + 1, slotU, slotSibling + 5},
		{slotOut + 6, slotBit + 2, slotU, slotSibling + 5},
		{slotU, slotAnd, slotCur, slotSibling + 6},
		{slotOut + 7, slotBit + 2, slotU, slotSibling + 6},
	}}
}
