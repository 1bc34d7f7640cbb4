package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v3"
)

// app is what the subcommands share.
type app struct {
	log    *slog.Logger
	stdout io.Writer // results; everything else goes to the log on stderr
	getenv func(string) string
	level  *slog.LevelVar
	hup    <-chan os.Signal // SIGHUP: read the configuration again
	hard   context.Context  // ends at the second stop signal
}

// Names of the environment variables for home and config folder; the latter two
// are those of older and newer releases of this program's model.
var (
	homeEnv    = []string{"VENUS_SECTOR_MANAGER_PATH", "VSM_PATH", "DAMOCLES_PATH"}
	confDirEnv = []string{"VENUS_SECTOR_MANAGER_CONF_DIR", "VSM_CONF_DIR", "DAMOCLES_CONF_DIR"}
)

const defaultHome = "~/.venus-sector-manager"

func (a *app) command() *cli.Command {
	return &cli.Command{
		Name:  "venus-sector-manager",
		Usage: "keeps the sectors of storage providers proven",
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name: "home", Usage: "folder of config files, sector index and records",
				Value: defaultHome, Sources: cli.EnvVars(homeEnv...),
			},
			&cli.StringFlag{Name: "net", Hidden: true, Usage: "no effect: the node tells its network"},
		},
		Commands: []*cli.Command{
			{
				Name: "daemon", Usage: "the daemon and its config files",
				Commands: []*cli.Command{a.daemonInit(), a.daemonRun()},
				Action:   a.needSubcommand,
			},
			{
				Name: "util", Usage: "tools for stores and proofs",
				Commands: []*cli.Command{
					{
						Name: "storage", Usage: "attach, list and find sectors in stores",
						Commands: []*cli.Command{
							a.storageAttach(), a.storageList(), a.storageFind(), a.storageScan(), a.storageVerify(), a.storageDetach(),
						},
						Action: a.needSubcommand,
					},
					a.utilSealer(),
					a.utilMiner(),
					a.utilHistory(),
					a.utilWhy(),
					a.utilDoctor(),
					a.utilAuth(),
					a.utilMessage(),
					a.utilConfig(),
					a.utilLog(),
					a.utilNotify(),
					{
						Name: "post", Usage: "prove and verify by hand, without daemon or chain",
						Commands: []*cli.Command{a.postProve(), a.postVerify()},
						Action:   a.needSubcommand,
					},
				},
				Action: a.needSubcommand,
			},
		},
		Action:         a.needSubcommand,
		Suggest:        true,
		ExitErrHandler: func(context.Context, *cli.Command, error) {}, // main prints
	}
}

// needSubcommand shows what there is, and fails for a name that is not there.
func (a *app) needSubcommand(_ context.Context, cmd *cli.Command) error {
	if name := cmd.Args().First(); name != "" {
		var known []string
		for _, c := range cmd.VisibleCommands() {
			known = append(known, c.Name)
		}
		return fmt.Errorf("%s has no subcommand %q: known are %s", cmd.FullName(), name, strings.Join(known, ", "))
	}
	return cli.ShowSubcommandHelp(cmd)
}

// home is the absolute path of the manager's home.
func (a *app) home(cmd *cli.Command) (string, error) {
	home, err := expand(cmd.String("home"))
	if err != nil {
		return "", fmt.Errorf("home folder: %w; give it with --home", err)
	}
	return home, nil
}

// expand makes a path absolute; ~/ is the user's home folder.
func expand(path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		user, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		return filepath.Join(user, rest), nil
	}
	return filepath.Abs(path)
}
