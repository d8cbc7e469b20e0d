"""Windows: a service, registered by a PowerShell script.

Windows speaks to services in a protocol of its own, which a console program does not answer. WinSW stands
between: it runs the command, and turns the service's stop into the Ctrl-C that the daemon understands.
"""

import html
from collections.abc import Mapping
from pathlib import PurePath, PureWindowsPath

from .installation import Definition, Installation, Question

EXECUTABLE = PureWindowsPath(
    r"C:\Program Files\ContainerStacks\.venv\Scripts\containerstacks-billing-daemon.exe"
)

SERVICE = "containerstacks-billing-daemon"

_PROGRAM_DATA = r"C:\ProgramData"
_FOLDER = PureWindowsPath(_PROGRAM_DATA) / "ContainerStacks"
_SCRIPT = _FOLDER / "install-billing-daemon.ps1"

# In a here-string of single quotes PowerShell expands nothing; %BASE% is WinSW's, its own folder.
_SCRIPT_TEXT = r"""# Registers the ContainerStacks billing daemon as a Windows service. Run as administrator.
# Needs WinSW 3 (WinSW-x64.exe) at $Wrapper, and the connection string of the database in $Secret.
$ErrorActionPreference = 'Stop'

$Name = 'containerstacks-billing-daemon'
$Folder = Join-Path $env:ProgramData 'ContainerStacks'
$Wrapper = Join-Path $Folder "$Name.exe"
$Secret = Join-Path $Folder 'database-url'

New-Item -ItemType Directory -Force -Path $Folder | Out-Null
foreach ($Needed in $Wrapper, $Secret) {
    if (-not (Test-Path -LiteralPath $Needed)) { throw "Missing: $Needed" }
}

@'
<service>
  <id>containerstacks-billing-daemon</id>
  <name>ContainerStacks billing daemon</name>
  <description>Hourly billing of VPS instances</description>
  <executable>{command}</executable>
  <arguments>run</arguments>
  <env name="DATABASE_URL_FILE" value="%BASE%\database-url"/>
  <env name="LOG_FORMAT" value="json"/>
  <log mode="roll"/>
  <stoptimeout>60 sec</stoptimeout>
</service>
'@ | Set-Content -LiteralPath (Join-Path $Folder "$Name.xml") -Encoding UTF8

# The service's account writes the status file and its log here; the secret is read by nobody else.
# By SID, because names are translated: LocalService, Administrators, SYSTEM.
icacls.exe $Folder /grant '*S-1-5-19:(OI)(CI)M' | Out-Null
icacls.exe $Secret /inheritance:r /grant '*S-1-5-32-544:F' '*S-1-5-18:F' '*S-1-5-19:R' | Out-Null

if (-not (Get-Service -Name $Name -ErrorAction SilentlyContinue)) {
    New-Service -Name $Name -BinaryPathName "`"$Wrapper`"" -DisplayName 'ContainerStacks billing daemon' |
        Out-Null
}
sc.exe config $Name start= delayed-auto obj= 'NT AUTHORITY\LocalService' | Out-Null
sc.exe failure $Name reset= 86400 actions= restart/5000/restart/5000/restart/5000 | Out-Null
sc.exe failureflag $Name 1 | Out-Null
Restart-Service -Name $Name
"""


def status_file(environment: Mapping[str, str]) -> PurePath:
    folder = PureWindowsPath(environment.get("PROGRAMDATA", _PROGRAM_DATA))
    return folder / "ContainerStacks" / "billing-daemon.json"


def installation(command: PurePath) -> Installation:
    return Installation(
        definition=Definition(
            _SCRIPT, _SCRIPT_TEXT.replace("{command}", html.escape(str(command), quote=False))
        ),
        comment="# {}",
        companions=(),
        prepare=(),
        start=(("powershell.exe", "-NoProfile", "-ExecutionPolicy", "Bypass", "-File", str(_SCRIPT)),),
        stop=(("sc.exe", "stop", SERVICE), ("sc.exe", "delete", SERVICE)),
        forget=(),
        is_enabled=Question(("sc.exe", "qc", SERVICE), contains="AUTO_START"),
        is_active=Question(("sc.exe", "query", SERVICE), contains="RUNNING"),
        connection_file=_FOLDER / "database-url",
        connection_form="postgresql://…",
        connection_reader="administrators and the service",
    )
