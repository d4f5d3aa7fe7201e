// Five clips as unlike as clips can be, each three seconds of 320×180, made by the ffmpeg program; and one with patches of skin and sky.
import { execFileSync } from "node:child_process";
import { join } from "node:path";

const geq = (r, g, b) => `color=c=black:s=320x180:r=24:d=3,format=gbrp,geq=r='${r}':g='${g}':b='${b}'`;
const noise = "6*random(0)";

const SOURCES = {
  // A green field under a blue sky, a white cloud passing.
  meadow: geq(`if(lt(Y,90),110+Y*0.6,70+(Y-90)*0.4)+120*exp(-(pow((X-40-30*T)/40,2)+pow((Y-35)/12,2)))+${noise}`,
    `if(lt(Y,90),165+Y*0.4,125+20*sin(X/9+T))+80*exp(-(pow((X-40-30*T)/40,2)+pow((Y-35)/12,2)))+${noise}`,
    `if(lt(Y,90),225,50+(Y-90)*0.2)+30*exp(-(pow((X-40-30*T)/40,2)+pow((Y-35)/12,2)))+${noise}`),
  // A street at night: dark, a few warm and cold lamps.
  night: geq(`12+220*exp(-(pow((X-70)/7,2)+pow((Y-60)/7,2)))+200*exp(-(pow((X-250-10*T)/5,2)+pow((Y-90)/5,2)))+Y*0.08+${noise}`,
    `14+160*exp(-(pow((X-70)/7,2)+pow((Y-60)/7,2)))+215*exp(-(pow((X-250-10*T)/5,2)+pow((Y-90)/5,2)))+Y*0.07+${noise}`,
    `24+60*exp(-(pow((X-70)/7,2)+pow((Y-60)/7,2)))+240*exp(-(pow((X-250-10*T)/5,2)+pow((Y-90)/5,2)))+Y*0.12+${noise}`),
  // A face before a brown wall, a window at the side.
  portrait: geq(`if(lt(pow((X-160)/45,2)+pow((Y-95-3*sin(T*2))/60,2),1),205-abs(X-150)*0.7,if(gt(X,265),240,95-Y*0.15))+${noise}`,
    `if(lt(pow((X-160)/45,2)+pow((Y-95-3*sin(T*2))/60,2),1),150-abs(X-150)*0.6,if(gt(X,265),240,70-Y*0.1))+${noise}`,
    `if(lt(pow((X-160)/45,2)+pow((Y-95-3*sin(T*2))/60,2),1),120-abs(X-150)*0.5,if(gt(X,265),235,50-Y*0.08))+${noise}`),
  // Snow: high key, hardly any colour or contrast.
  snow: geq(`215+20*sin(X/50+T)-Y*0.1+${noise}`, `220+18*sin(X/50+T)-Y*0.1+${noise}`, `228+15*sin(X/50+T)-Y*0.08+${noise}`),
  // A market: saturated stalls in motion.
  market: geq(`128+110*sin(floor((X+40*T)/32)*2.1)+${noise}`, `128+90*sin(floor((X+40*T)/32)*1.3+floor(Y/45)*2)+${noise}`, `110+100*sin(floor(Y/45)*1.7+floor((X+40*T)/32)*0.9)+${noise}`),
};

const PATCHES = geq("if(lt(Y,60),135,if(lt(X,107),225,if(lt(X,214),198,120)))", "if(lt(Y,60),180,if(lt(X,107),185,if(lt(X,214),140,78)))",
  "if(lt(Y,60),230,if(lt(X,107),155,if(lt(X,214),105,52)))");

function make(source, file) {
  execFileSync("ffmpeg", ["-v", "error", "-y", "-f", "lavfi", "-i", source, "-f", "lavfi", "-i", "sine=frequency=220:duration=3", "-shortest", "-c:v", "libx264",
    "-preset", "ultrafast", "-crf", "16", "-pix_fmt", "yuv420p", "-c:a", "aac", file]);
  return file;
}

export function makeClips(dir) {
  return Object.entries(SOURCES).map(([name, source]) => ({ name, file: make(source, join(dir, `${name}.mp4`)) }));
}
export function makePatches(dir) {
  return { name: "patches", file: make(PATCHES, join(dir, "patches.mp4")) };
}
