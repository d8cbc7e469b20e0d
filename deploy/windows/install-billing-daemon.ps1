# Registers the ContainerStacks billing daemon as a Windows service. Run as administrator.
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
  <executable>C:\Program Files\ContainerStacks\.venv\Scripts\containerstacks-billing-daemon.exe</executable>
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
