package fullnode

import (
	"context"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/serve"
)

// StateGetNetworkParams describes the network.
func (n *Node) StateGetNetworkParams(ctx context.Context) (*lotus.NetworkParams, error) {
	return serve.Call(n.gate, ctx, "StateGetNetworkParams", func() (*lotus.NetworkParams, error) {
		cfg := n.chain.Chain().Config()
		return &lotus.NetworkParams{
			NetworkName: cfg.NetworkName, BlockDelaySecs: n.blockDelay(),
			ConsensusMinerMinPower: big.NewInt(minPower), PreCommitChallengeDelay: 10,
			ForkUpgradeParams: upgrades(), Eip155ChainID: 31415926,
			GenesisTimestamp: uint64(cfg.GenesisTime.Unix()),
		}, nil
	})
}

// upgrades places every network upgrade before genesis, as development networks do.
func upgrades() map[string]abi.ChainEpoch {
	past := []string{
		"UpgradeSmokeHeight", "UpgradeBreezeHeight", "UpgradeIgnitionHeight", "UpgradeRefuelHeight",
		"UpgradeTapeHeight", "UpgradeAssemblyHeight", "UpgradeLiftoffHeight", "UpgradeKumquatHeight",
		"UpgradeCalicoHeight", "UpgradePersianHeight", "UpgradeOrangeHeight", "UpgradeClausHeight",
		"UpgradeTrustHeight", "UpgradeNorwegianHeight", "UpgradeTurboHeight", "UpgradeHyperdriveHeight",
		"UpgradeChocolateHeight", "UpgradeOhSnapHeight", "UpgradeSkyrHeight", "UpgradeSharkHeight",
		"UpgradeHyggeHeight", "UpgradeLightningHeight", "UpgradeThunderHeight", "UpgradeWatermelonHeight",
		"UpgradeDragonHeight", "UpgradePhoenixHeight", "UpgradeWaffleHeight", "UpgradeTuktukHeight",
		"UpgradeTeepHeight", "UpgradeTockHeight", "UpgradeGoldenWeekHeight", "UpgradeFireHorseHeight",
	}
	out := map[string]abi.ChainEpoch{"BreezeGasTampingDuration": 0, "UpgradeXxHeight": 999_999_999}
	for i, name := range past {
		out[name] = -abi.ChainEpoch(i + 1)
	}
	return out
}
