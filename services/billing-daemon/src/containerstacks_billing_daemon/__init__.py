"""Bills VPS by the hour from prepaid wallets, as a service of the operating system."""
