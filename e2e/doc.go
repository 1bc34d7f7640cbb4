// Package e2e follows the operator's guide with the built programs, a real
// MariaDB and a devnet chain, and kills processes while they prove. Its tests
// carry the build tag e2e and run with `make e2e`. Those with the tag sick, for
// `make sick`, run a cluster of which stores, slaves and processors are sick.
package e2e
