package lotus

import "github.com/filecoin-project/go-address"

// MainNetworkName is what StateNetworkName answers on the main network.
const MainNetworkName = "mainnet"

// UseNetwork sets the first letter of every address this process writes: f on
// the main network, t on all others. Both are read. A program calls it once,
// when it knows the network and before other goroutines format addresses; the
// setting is go-address's own and process-wide.
func UseNetwork(name string) {
	letter := address.Testnet
	if name == MainNetworkName {
		letter = address.Mainnet
	}
	if address.CurrentNetwork != letter { // writing what is there would race with those who read
		address.CurrentNetwork = letter
	}
}
